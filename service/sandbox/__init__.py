"""A stand-in for Pipedrive on loopback, with its responses, limits and rules, and with faults.

A call passes `gateway` (credentials, limits, faults), then `request_validation` against the
`openapi` extracts, then a handler of `resources` that works on the records of `account`.
"""
