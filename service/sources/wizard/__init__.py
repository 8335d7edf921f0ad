"""Proposes a source from one captured request."""
