"""From a request to leads, as the source file says. Pure: no network, no store, no clock."""
