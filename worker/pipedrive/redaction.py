"""Cleans Pipedrive's messages for storage and display: short, on one line, no personal data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from worker.lead.fields import API_NAMES

# For an error's text.
MAX_ERROR_CHARS = 500
HIDDEN = "[…]"
# Values of up to `MAX_WORD_CHARS` could be any word and are not hidden. We recognise values longer
# than `MAX_MATCHED_CHARS` by their beginning.
MAX_WORD_CHARS, MAX_MATCHED_CHARS = 3, 40

_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\s]+"
)
_EMAIL = re.compile(r"[^\s@\"'<>()\[\],;:]{1,64}@[^\s@\"'<>()\[\],;:]{1,255}")
_PHONE = re.compile(r"\+\d[\d ().-]{6,20}\d")

# The fields of leads, then those of persons, notes, labels and searches.
FIELD_NAMES = API_NAMES | {
    "person_id", "was_seen", "is_archived", "name", "first_name", "last_name", "email", "emails",
    "phone", "phones", "marketing_status", "content", "lead_id", "deal_id", "user_id", "color",
    "term", "fields", "limit", "start", "cursor", "address", "website",
    "job_title", "birthday", "postal_address", "notes", "im",
}  # fmt: skip
VALUE_PARTS = frozenset({"value.amount", "value.currency"})
_QUOTED = re.compile(r"[\"'`]([A-Za-z0-9_.\[\]]{2,100})[\"'`]")
_PATH = re.compile(r"\b(?:body|query|data)[./]([A-Za-z0-9_./\[\]]{2,100})")
_INDEXED = re.compile(r"\b([A-Za-z_]{2,40}[./\[]\d{1,4}\b[A-Za-z0-9_./\[\]]{0,60})")
_BARE = re.compile(r"\b((?:[a-z]+_[a-z_]+|[0-9a-f]{40})(?:\.[a-z0-9_]+)*)\b")
_FIRST = re.compile(
    r"^\W*([A-Za-z]+)\b.{0,60}\b(?:must|is|are|can|cannot|should|invalid|missing)\b"
)
_HASH = re.compile(r"[0-9a-f]{40}")


def clean_text(text: str) -> str:
    """Return one line of at most 500 characters, without control and direction characters."""
    return _CONTROL.sub(" ", text[: 4 * MAX_ERROR_CHARS]).strip()[:MAX_ERROR_CHARS]


def redact(text: str, sent: Iterable[str] = ()) -> str:
    """Hide what we `sent` and everything that looks like an e-mail address or a phone number."""
    for value in sorted({value.strip() for value in sent}, key=len, reverse=True):
        if len(value) > MAX_MATCHED_CHARS:
            # Pipedrive may cut it off, so drop everything from its beginning on.
            start = text.casefold().find(value[:MAX_MATCHED_CHARS].casefold())
            text = text if start < 0 else text[:start] + HIDDEN
        elif len(value) > MAX_WORD_CHARS:
            text = re.sub(re.escape(value), HIDDEN, text, flags=re.IGNORECASE)
    return _PHONE.sub(HIDDEN, _EMAIL.sub(HIDDEN, text))[:MAX_ERROR_CHARS]


def iterate_texts(value: Any) -> Iterator[str]:
    """Yield every text in a request's body or parameters, except keys, which are not personal."""
    if isinstance(value, str):
        yield value
        yield clean_text(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from iterate_texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from iterate_texts(item)


def find_rejected_field(text: str) -> str | None:
    """Return the API name of the field that Pipedrive complains about, if it names one."""
    for pattern in (_QUOTED, _PATH, _INDEXED, _BARE):
        for path in pattern.findall(text):
            name = _field_of_path(path)
            if name:
                return name
    first = _FIRST.search(text)
    return _field_of_path(first[1]) if first else None


def _field_of_path(text: str) -> str | None:
    """Return the outermost known field on a path such as `emails[0].value`.

    For `custom_fields.<hash>` it is the hash. For a lead's value it includes the part at fault,
    such as `value.currency`, so that people find the right input.
    """
    parts = [part for part in re.split(r"[./\[\]]+", text) if part]
    for part in parts:
        if _HASH.fullmatch(part):
            return part
    for place, part in enumerate(parts):
        if part.lower() in FIELD_NAMES:
            both = ".".join(parts[place : place + 2]).lower()
            return both if both in VALUE_PARTS else part.lower()
    return None
