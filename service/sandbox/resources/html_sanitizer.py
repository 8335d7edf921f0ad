"""Note content as Pipedrive stores it: harmless HTML, without scripts, handlers or comments."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

INLINE_TAGS = {"b", "code", "em", "i", "s", "small", "span", "strong", "sub", "sup", "u"}
BLOCK_TAGS = {"blockquote", "br", "div", "h1", "h2", "h3", "hr", "p", "pre"}
LIST_TAGS = {"li", "ol", "table", "tbody", "td", "th", "thead", "tr", "ul"}
ALLOWED_TAGS = frozenset({"a", "img"} | INLINE_TAGS | BLOCK_TAGS | LIST_TAGS)
# Removed together with what is inside them; of any other tag only the tag itself is removed.
DROPPED_TAGS = frozenset({"script", "style", "iframe", "object", "embed", "template", "noscript"})
VOID_TAGS = frozenset({"br", "hr", "img"})
ALLOWED_ATTRIBUTES = frozenset({"href", "src", "title", "alt"})
ALLOWED_SCHEMES = ("http://", "https://", "mailto:", "tel:")


def sanitize(html: str) -> str:
    """The part of `html` that Pipedrive stores."""
    sanitizer = _Sanitizer()
    sanitizer.feed(html)
    sanitizer.close()
    return "".join(sanitizer.parts)


class _Sanitizer(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self._dropped_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DROPPED_TAGS:
            self._dropped_depth += 1
        elif tag in ALLOWED_TAGS and not self._dropped_depth:
            attributes = "".join(_format_attribute(name, value) for name, value in attrs)
            self.parts.append(f"<{tag}{attributes}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in DROPPED_TAGS:
            self._dropped_depth = max(0, self._dropped_depth - 1)
        elif tag in ALLOWED_TAGS and tag not in VOID_TAGS and not self._dropped_depth:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._dropped_depth:
            self.parts.append(data.replace("<", "&lt;").replace(">", "&gt;"))

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")


def _format_attribute(name: str, value: str | None) -> str:
    if name not in ALLOWED_ATTRIBUTES or value is None:
        return ""
    if name in ("href", "src") and not value.strip().lower().startswith(ALLOWED_SCHEMES):
        return ""
    return f' {name}="{escape(value)}"'
