"""Alerts: each fault is posted to a webhook once, again when it grows, and when it recovers."""
