"""The words by which forms ask for things: one data file a language, and their reading."""
