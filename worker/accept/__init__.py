"""From a submission to its receipt: Redis, or the local spool while Redis cannot take it."""
