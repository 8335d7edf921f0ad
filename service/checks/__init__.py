"""Checks of settings, source file, Redis and Pipedrive before the first submission."""
