"""The door and the windows: HTTP, the form products, the commands. Litestar lives only here."""
