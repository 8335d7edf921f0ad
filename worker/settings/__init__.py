"""Settings: the table of all of them, and their types with the parsers of their text."""
