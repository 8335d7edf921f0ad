"""Whether a request comes from its source: one file for each scheme of `[sources.X.verify]`."""
