"""What operators see and do: the console as pages, the same as JSON; closed without a token."""
