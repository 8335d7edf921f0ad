"""What can be found wrong before the first submission: settings, source file, Redis, Pipedrive.
Judges; prints nothing.
"""
