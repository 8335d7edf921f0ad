"""The Pipedrive account that the sandbox holds: its records, fields and search index."""
