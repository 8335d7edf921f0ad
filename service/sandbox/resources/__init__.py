"""The sandbox's operations, one module a resource."""
