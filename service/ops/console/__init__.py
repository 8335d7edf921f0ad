"""The operators' console: what `service.ops` knows and does, as web pages.

`app` lists the routes. A page or button is a plain function from a `ConsoleRequest` to a `View` or
a `Redirect`; `page` serves it, `rendering` and `templates/` turn it into HTML.
"""
