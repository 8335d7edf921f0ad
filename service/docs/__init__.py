"""`/docs`: every operation on one page that works offline, and the OpenAPI document behind it."""
