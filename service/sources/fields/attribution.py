"""Where a lead came from: utm_* and click ids, from their own fields or from a page's URL."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.fields.text import clean_line
from service.sources.languages.words import to_phrase
from service.sources.payload.decode import decode_percent
from worker.lead.templates import CLICK_IDS, UTM_PARTS

# Characters of a click id or utm value; Meta's and Google's stay under 500.
MAX_TRACKING_CHARS = 1_024
MAX_URL_CHARS = 8_192
MAX_URL_PARAMETERS = 200

# A value that says nothing: an unfilled template token, or a word such as `(not set)`.
_PLACEHOLDER = re.compile(
    r"\{\{.*\}\}|\$?\{[^{}]*\}|\[[\w"
    r" .:-]*\]|%%.*%%|%[A-Za-z_]+%|<[^<>]*>|__[A-Za-z_]+__|\*\|.*\|\*|x{3,}|"
    r"\((?:not set|none|not provided|direct)\)|null|none|undefined|nan|n/a|-+",
    re.IGNORECASE | re.DOTALL,
)
# The first characters of all of these.
_PLACEHOLDER_STARTS = frozenset("{$[%<_*xX(nNuU-")
# In other fields, only tokens that nobody would type.
_TEMPLATE_TOKEN = re.compile(
    r"\{\{[^{}]*\}\}|\$\{[^{}]*\}|%%[^%]*%%|\*\|[^|]*\|\*|\[object Object\]", re.IGNORECASE
)
_TRACKED = re.compile(r"[?&#](?:utm_\w+|\w{0,12}clid)=")
_TOKEN_STARTS = ("{", "$", "%", "*", "[")
_URL = re.compile(r"(?:https?:)?//[^\s/]\S*", re.IGNORECASE)
_BARE_URL = re.compile(r"/\S*|(?:[a-z0-9-]+\.)+[a-z]{2,24}(?:[/?#:]\S*)?", re.IGNORECASE)
_FIELD_BY_PARAMETER = {to_phrase(f"utm_{part}"): f"utm_{part}" for part in UTM_PARTS} | {
    to_phrase(name): f"click_ids.{name}" for name in CLICK_IDS if not name.startswith("_")
}


def parse_tracking_value(text: str) -> str | None:
    """The value of a utm field or click id; None for a placeholder (`{{campaign}}`, `xxxxx`)."""
    value = clean_line(text)
    if not value or len(value) > MAX_TRACKING_CHARS:
        return None
    is_placeholder = value[0] in _PLACEHOLDER_STARTS and _PLACEHOLDER.fullmatch(value)
    return None if is_placeholder else value


def is_tracked(text: str) -> bool:
    """Whether a text may be the URL of a page with a campaign."""
    return bool(_TRACKED.search(text))


def is_template_token(text: str) -> bool:
    """Whether the whole text is a token that a template should have replaced."""
    return text[:1] in _TOKEN_STARTS and bool(_TEMPLATE_TOKEN.fullmatch(text))


def parse_page_url(text: str) -> str | None:
    """The address of a page, absolute, relative or without a scheme; None for anything else."""
    address = clean_line(text) if len(text) <= MAX_URL_CHARS else ""
    return address if _URL.fullmatch(address) or _BARE_URL.fullmatch(address) else None


def tracking_from_url(address: str) -> Iterator[tuple[str, str]]:
    """`utm_source`, `click_ids.gclid` and so on, with values, from a URL's query and fragment."""
    _, _, query = address[:MAX_URL_CHARS].partition("?")
    for pair in re.split(r"[&?#]", query)[:MAX_URL_PARAMETERS]:
        name, _, text = pair.partition("=")
        field = _FIELD_BY_PARAMETER.get(to_phrase(name[:64])) if text else None
        if field and (value := parse_tracking_value(_decode(text))):
            yield field, value


def _decode(text: str) -> str:
    raw = text.replace("+", " ").encode("utf-8", "replace")
    return decode_percent(raw).decode("utf-8", "replace")
