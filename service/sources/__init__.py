"""From a request to canonical leads, as the source file says. Pure: no network, no store, no clock."""
