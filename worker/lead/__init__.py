"""Decides what to write to Pipedrive for a lead: pure functions, no network, no store."""
