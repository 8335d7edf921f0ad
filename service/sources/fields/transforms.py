"""How a line of `map` changes a value before a field takes it."""

from __future__ import annotations

import html
import re

from service.sources.fields.effort import SEARCHED_CHARS_PER_UNIT, STEPS_PER_UNIT, Effort
from service.sources.fields.emails import parse_email
from service.sources.fields.patterns import compile_pattern
from service.sources.fields.phones import parse_phone
from service.sources.fields.text import MAX_TEXT_CHARS
from service.sources.fields.values import MAX_LIST_ITEMS
from service.sources.payload.tree import Tree, Upload, text_of
from service.sources.schema import MapRule

# Characters of a text that are searched for an address, a number or a URL.
MAX_SEARCHED_CHARS = 10_000
# Candidates that are tried; a date may look like a phone number.
MAX_CANDIDATES = 10

_EMAIL = re.compile(r"[^\s<>()\[\]{},;:\"'=|@]{1,64}@[^\W_](?:[\w-]{0,62}\.){1,8}[^\W\d_]{2,24}")
_PHONE = re.compile(r"(?<![\w.])(?:\+|\(\+?)?\d[\d ()./\u00a0-]{5,22}\d(?!\w)")
_URL = re.compile(r"(?:https?://|\bwww\.)[^\s<>\"'`]{3,2000}", re.IGNORECASE)
_AFTER_URL = ".,;:!?)]}»”’*"
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def transform(rule: MapRule, value: Tree, effort: Effort) -> Tree:
    """The text, or the list of texts, that a rule makes of a value; None if nothing is left.

    The steps always run in the order below, however the rule is written.
    """
    if not rule.changes_value or isinstance(value, Upload):
        return value
    texts = [text[:MAX_TEXT_CHARS] for item in _items(value) if (text := text_of(item))]
    if rule.unescape:
        texts = [html.unescape(text) for text in texts]
    if rule.match:
        texts = _matches(rule.match, texts, effort)
    if rule.split:
        texts = [part for text in texts for part in text.split(rule.split)][:MAX_LIST_ITEMS]
    if rule.trim:
        texts = [text.strip() for text in texts]
    if rule.strip:
        texts = [text.removeprefix(rule.strip).removesuffix(rule.strip) for text in texts]
    if rule.take:
        texts = texts[rule.take - 1 :][:1] if rule.take > 0 else texts[rule.take :][:1]
    if rule.join is not None and texts:
        texts = [rule.join.join(text for text in texts if text.strip())]
    if rule.extract:
        texts = [part for text in texts if (part := extract(rule.extract, text, effort))]
    if rule.case:
        texts = [change_case(rule.case, text) for text in texts]
    texts = [text for text in texts if text.strip()]
    return texts[0] if len(texts) == 1 else texts or None


def is_whole(rule: MapRule, value: Tree, result: Tree) -> bool:
    """Whether a result says as much as the value did, so that the value need not stay an answer."""
    if not rule.takes_part:
        return True
    return (text_of(value) or "").strip().casefold() == (text_of(result) or "").strip().casefold()


def extract(kind: str, text: str, effort: Effort) -> str | None:
    """The first e-mail address, phone number or URL of a text."""
    text = text[:MAX_SEARCHED_CHARS]
    if not effort.take(1 + len(text) // SEARCHED_CHARS_PER_UNIT):
        return None
    if kind == "url":
        match = _URL.search(text)
        return match[0].rstrip(_AFTER_URL) if match else None
    pattern = _EMAIL if kind == "email" else _PHONE
    for number, match in enumerate(pattern.finditer(text)):
        if number == MAX_CANDIDATES:
            break
        parsed = parse_email(match[0], effort) if kind == "email" else parse_phone(match[0], effort)
        if parsed:
            return parsed
    return None


def change_case(case: str, text: str) -> str:
    """Text in lower case, in upper case, or with each word's first letter in upper case."""
    if case == "title":
        return _WORD.sub(lambda word: word[0][:1].upper() + word[0][1:].lower(), text)
    return text.lower() if case == "lower" else text.upper()


def _items(value: Tree) -> list[Tree]:
    if isinstance(value, dict):
        value = list(value.values())
    return value[:MAX_LIST_ITEMS] if isinstance(value, list) else [value]


def _matches(pattern_text: str, texts: list[str], effort: Effort) -> list[str]:
    pattern = compile_pattern(pattern_text)
    matches = (
        pattern.find(text)
        for text in texts
        if effort.take(1 + pattern.steps(text) // STEPS_PER_UNIT)
    )
    return [match for match in matches if match]
