"""Peers: the same intake as others would write it in an afternoon.

The interpreter of their own environment runs them.
"""
