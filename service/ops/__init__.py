"""The windows for operators: how things stand, as a page and as JSON. Closed until a token is
configured.
"""
