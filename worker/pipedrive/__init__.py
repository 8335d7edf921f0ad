"""The Pipedrive API: typed calls, errors told apart, limits reported and never slept on."""
