"""What operators see and do, as console pages and as JSON; closed without a token."""
