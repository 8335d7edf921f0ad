"""Settings: the table of all settings, and their types with parsers."""
