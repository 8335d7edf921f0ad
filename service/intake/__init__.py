"""The HTTP side of a submission: from bytes on a socket to an answer."""
