"""The engine: it owns what was accepted and brings it to Pipedrive. It imports nothing from
`service`.
"""
