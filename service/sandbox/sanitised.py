"""Note content as Pipedrive keeps it: harmless HTML only. Comments, scripts, handlers and strange addresses are gone."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

TEXT = {"b", "code", "em", "i", "s", "small", "span", "strong", "sub", "sup", "u"}
BLOCKS = {"blockquote", "br", "div", "h1", "h2", "h3", "hr", "p", "pre"}
LISTS = {"li", "ol", "table", "tbody", "td", "th", "thead", "tr", "ul"}
KEPT = frozenset({"a", "img"} | TEXT | BLOCKS | LISTS)
DROPPED = frozenset({"script", "style", "iframe", "object", "embed", "template", "noscript"})
VOID = frozenset({"br", "hr", "img"})
ATTRIBUTES = frozenset({"href", "src", "title", "alt"})
SCHEMES = ("http://", "https://", "mailto:", "tel:")


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DROPPED:
            self._inside += 1
        elif tag in KEPT and not self._inside:
            self.parts.append(f"<{tag}{''.join(_attribute(name, value) for name, value in attrs)}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in DROPPED:
            self._inside = max(0, self._inside - 1)
        elif tag in KEPT and tag not in VOID and not self._inside:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.parts.append(data.replace("<", "&lt;").replace(">", "&gt;"))

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")


def sanitised(html: str) -> str:
    """The part of `html` that is kept."""
    cleaner = _Cleaner()
    cleaner.feed(html)
    cleaner.close()
    return "".join(cleaner.parts)


def _attribute(name: str, value: str | None) -> str:
    if name not in ATTRIBUTES or value is None:
        return ""
    if name in ("href", "src") and not value.strip().lower().startswith(SCHEMES):
        return ""
    return f' {name}="{escape(value)}"'
