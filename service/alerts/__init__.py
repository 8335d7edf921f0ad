"""Alerts: a webhook hears of each fault once, again when it grows, and when it has recovered."""
