"""Everything around the worker: HTTP, form products, commands. Only this package uses Litestar."""
