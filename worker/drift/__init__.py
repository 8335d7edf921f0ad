"""Finds names that the source file uses and the Pipedrive account lacks."""
