"""Text from strangers, made safe to keep: NFC, no control characters, trimmed and bounded."""

from __future__ import annotations

import re
import unicodedata

# Characters of any one text; the rest is only in the raw body.
MAX_TEXT_CHARS = 50_000
# Characters of a field that Pipedrive keeps on one line: names, addresses, labels.
MAX_LINE_CHARS = 255
# Marks in a row, as in the stream-safe format of UAX 15: longer runs take quadratic time to sort.
MAX_COMBINING_MARKS = 30

_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]"
)
_BREAK = re.compile(r"\r\n?|[\u2028\u2029\u0085]")
_BLANK = re.compile(r"\s+")


def clean_text(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Text on several lines: line feeds and tabs stay; lone surrogates become U+FFFD."""
    text = text[:limit]
    if text.isascii() and text.isprintable():
        return text.strip()
    text = _BREAK.sub("\n", text)
    text = _CONTROLS.sub(_replace_control, text)
    return _to_nfc(text).strip()


def _replace_control(match: re.Match[str]) -> str:
    return "\ufffd" if "\ud800" <= match[0] <= "\udfff" else ""


def clean_line(text: str) -> str:
    """Text as one line: white space collapsed, no invisible or direction-changing characters."""
    if len(text) <= MAX_TEXT_CHARS and "  " not in text and text.isascii() and text.isprintable():
        return text.strip()
    text = clean_text(text)
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    return _BLANK.sub(" ", text if text.isascii() else _INVISIBLE.sub("", text)).strip()


def clean_label(text: str) -> str:
    """The name of a question, at most 255 characters; `field` if nothing is left of it."""
    return clean_line(text[: 4 * MAX_LINE_CHARS])[:MAX_LINE_CHARS].strip() or "field"


def _to_nfc(text: str) -> str:
    """NFC in linear time."""
    return text if text.isascii() else unicodedata.normalize("NFC", limit_marks(text))


def limit_marks(text: str) -> str:
    """The text without combining marks beyond `MAX_COMBINING_MARKS` in a row."""
    if len(text) <= MAX_COMBINING_MARKS or not any(map(unicodedata.combining, text)):
        return text
    characters: list[str] = []
    run = 0
    for character in text:
        run = run + 1 if character > "\u02ff" and unicodedata.combining(character) else 0
        if run <= MAX_COMBINING_MARKS:
            characters.append(character)
    return "".join(characters)
