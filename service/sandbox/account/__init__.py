"""The sandbox's Pipedrive account: its records, fields and search."""
