"""Everything on one machine: Redis, service, workers and sandbox as child processes."""
