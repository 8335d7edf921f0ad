"""Erases a person and old content, and makes Redis rewrite its files."""
