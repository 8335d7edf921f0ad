"""The console's pages: what `service.ops` knows and does, shown to people. Templates are in
`service/templates/ops`.
"""
