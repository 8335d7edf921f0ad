"""Turns requests into leads as the source file says. Pure: no network, no store, no clock."""
