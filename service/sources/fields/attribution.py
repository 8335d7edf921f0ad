"""Where a lead came from: utm_* and click ids, from fields of their own or from the query of a
page's URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.fields.matching import CLICK_ID_PHRASES, to_phrase
from service.sources.fields.text import clean_line
from service.sources.payload.decode import decode_percent
from worker.lead.templates import UTM_PARTS

MAX_TRACKING_CHARS = 1_024
"""Characters of a click id or utm value: Meta's and Google's stay under 500."""
MAX_URL_CHARS = 8_192
MAX_URL_PARAMETERS = 200

_PLACEHOLDER = re.compile(
    r"\{\{.*\}\}|\$?\{[^{}]*\}|\[[\w"
    r" .:-]*\]|%%.*%%|%[A-Za-z_]+%|<[^<>]*>|__[A-Za-z_]+__|\*\|.*\|\*|x{3,}|"
    r"\((?:not set|none|not provided|direct)\)|null|none|undefined|nan|n/a|-+",
    re.IGNORECASE | re.DOTALL,
)
_UNRESOLVED = re.compile(
    r"\{\{[^{}]*\}\}|\$\{[^{}]*\}|%%[^%]*%%|\*\|[^|]*\|\*|\[object Object\]", re.IGNORECASE
)
_URL = re.compile(r"(?:https?:)?//[^\s/]\S*", re.IGNORECASE)
_BARE_URL = re.compile(r"/\S*|(?:[a-z0-9-]+\.)+[a-z]{2,24}(?:[/?#:]\S*)?", re.IGNORECASE)
_TARGETS = {to_phrase(f"utm_{part}"): f"utm_{part}" for part in UTM_PARTS} | CLICK_ID_PHRASES


def parse_tracking_value(text: str) -> str | None:
    """The value of a utm field or click id; None for what a template left unfilled
    (`{{campaign.name}}`, `xxxxx`).
    """
    value = clean_line(text)
    return (
        value
        if value and len(value) <= MAX_TRACKING_CHARS and not _PLACEHOLDER.fullmatch(value)
        else None
    )


def is_placeholder(text: str) -> bool:
    """Whether the whole text is a token that some template should have replaced."""
    return bool(_UNRESOLVED.fullmatch(text))


def parse_page_url(text: str) -> str | None:
    """An address of a page, absolute, relative or without a scheme; None for anything else."""
    address = clean_line(text) if len(text) <= MAX_URL_CHARS else ""
    is_url = _URL.fullmatch(address) or _BARE_URL.fullmatch(address)
    return address if is_url else None


def tracking_from_url(address: str) -> Iterator[tuple[str, str]]:
    """`utm_source`, `click_ids.gclid` and so on with their values, in order, from the query of a
    URL (and of its fragment).
    """
    _, _, query = address[:MAX_URL_CHARS].partition("?")
    for pair in re.split(r"[&?#]", query)[:MAX_URL_PARAMETERS]:
        name, _, value = pair.partition("=")
        target = _TARGETS.get(to_phrase(name[:64])) if value else None
        if target and (found := parse_tracking_value(_decode(value))):
            yield target, found


def _decode(value: str) -> str:
    return decode_percent(value.replace("+", " ").encode("utf-8", "replace")).decode(
        "utf-8", "replace"
    )
