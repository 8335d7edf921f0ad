"""Labelled submissions as sites and products send them, and how well they are read."""
