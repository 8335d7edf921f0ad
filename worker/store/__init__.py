"""Redis: the connection, the keys, the scripts."""
