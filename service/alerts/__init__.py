"""Alerts: what is wrong is told to a webhook once, again when it grows, and once more when it has
recovered.
"""
