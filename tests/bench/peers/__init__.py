"""Peers: the same intake as others would write it in an afternoon. Run by the interpreter of their
own environment.
"""
