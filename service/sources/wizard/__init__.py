"""A source proposed from one captured request."""
