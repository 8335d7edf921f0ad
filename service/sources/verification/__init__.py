"""Who sent it: the schemes by which a request is verified."""
