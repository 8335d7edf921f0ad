"""A small file for each product: how its requests are read, verified and recognised."""
