"""The client of the Pipedrive API: typed calls, errors told apart, rate limits, metadata."""
