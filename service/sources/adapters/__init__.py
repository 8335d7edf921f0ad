"""A small file for each product: how its payload is read, proved and recognised."""
