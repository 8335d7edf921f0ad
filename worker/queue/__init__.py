"""Dispatch: the RQ queue, the slots that work on it, leases and the sweeper."""
