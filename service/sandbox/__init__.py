"""A stand-in for Pipedrive on loopback: the same answers, limits and rules, and faults on
demand.
"""
