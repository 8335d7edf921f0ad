"""Erasing a person, erasing what is old, and rewriting Redis's file."""
