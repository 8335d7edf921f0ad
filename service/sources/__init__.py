"""From a request to canonical leads, by the source file: pure functions over bytes, no network, no
store, no clock.
"""
