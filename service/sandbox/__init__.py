"""A stand-in for Pipedrive on loopback, with its responses, limits and rules, and with faults.

A call takes this way: `gateway` (credentials, limits, faults), `request_validation` against the
`openapi` extracts, a handler of `resources` on the records of `account`.
"""
