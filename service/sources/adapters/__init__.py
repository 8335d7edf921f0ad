"""One small file for each product: a request's payload into its events."""
