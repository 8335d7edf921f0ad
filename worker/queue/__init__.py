"""Dispatch: the RQ queue, the slots that deliver from it, leases and the sweeper."""
