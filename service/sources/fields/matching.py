"""Finds the canonical field that a label asks for, in any spelling and nine languages.

Pure lookups in `synonyms`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

from service.sources.fields import synonyms
from service.sources.fields.text import limit_marks
from worker.lead.templates import CLICK_IDS

# Longer labels are answers in their own right, except for the sentence beside a tick box.
MAX_LABEL_CHARS = 200


class FieldMatch(Struct, frozen=True):
    """The field that a label asks for; of several labels for one field the lowest rank wins."""

    field: str
    rank: int


# Labels as words and phrases.

_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ł": "l",
        "Ł": "L",
        "ø": "o",
        "Ø": "O",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "đ": "d",
        "ı": "i",
    }
)
_CAMEL = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_BRACKETS = re.compile(r"[\[\]]+")
_WORD = re.compile(r"[a-z]+|[0-9]+")


@lru_cache(maxsize=8192)
def split_words(label: str) -> tuple[str, ...]:
    """The words of a label, without accents, case or punctuation.

    `emailAddress` is two words, `q11_name` three.
    """
    text = label
    if not text.isascii():
        text = unicodedata.normalize("NFKD", limit_marks(text).translate(_LETTERS))
    if not text.isascii():
        text = "".join(character for character in text if not unicodedata.combining(character))
    return tuple(_WORD.findall(_CAMEL.sub(" ", text).lower()))


def to_phrase(label: str) -> str:
    """The words of a label as one string: `E-Mail`, `e_mail` and `eMail` are one phrase."""
    return "".join(split_words(label))


def to_phrases(text: str) -> Iterable[str]:
    """The phrases of a comma-separated list."""
    return map(to_phrase, text.split(","))


def to_any_script_phrase(label: str) -> str:
    """As `to_phrase`, with the letters of every script, for the names that a source file adds."""
    if label.isascii():
        return to_phrase(label)
    text = unicodedata.normalize("NFKD", limit_marks(label).translate(_LETTERS)).casefold()
    return "".join(character for character in text if character.isalnum())


# The synonyms as phrases and words.

# Cookies among the click ids (`_ga`) are matched by their exact names alone: `GA` may be anything.
CLICK_ID_PHRASES = {
    to_phrase(name): f"click_ids.{name}" for name in CLICK_IDS if not name.startswith("_")
}


def _build_fields() -> dict[str, str]:
    """Phrase -> field. Where two fields share a phrase, the first in the table keeps it."""
    fields = dict(CLICK_ID_PHRASES)
    for field, languages in synonyms.PHRASES.items():
        for text in languages.values():
            for phrase in to_phrases(text):
                fields.setdefault(phrase, field)
    return fields


FIELD_BY_PHRASE = _build_fields()
_SECOND_CHOICE = frozenset(to_phrases(synonyms.SECOND_CHOICE))
_NEVER = frozenset(to_phrases(synonyms.NEVER))
_NEUTRAL = frozenset(word for text in synonyms.NEUTRAL.values() for word in text.split())
_CLOSING = frozenset(synonyms.CLOSING.split())
_WRAPPERS = frozenset(synonyms.WRAPPERS.split()) | {"0"}
_NOT_A_PERSON = frozenset(synonyms.NOT_A_PERSON.split())
_GUARDS = frozenset(synonyms.GUARDS.split())
_ASKS_EMAIL = frozenset(synonyms.ASKS_EMAIL.split())
_ASKS_PHONE = frozenset(synonyms.ASKS_PHONE.split())
_ASKS_CONSENT = tuple(to_phrases(synonyms.ASKS_CONSENT))
_PERSONAL = frozenset({"name", "first_name", "last_name", "company"})
_ATTRIBUTION = ("utm_", "click_ids.")
# Fields that keep their meaning inside objects with unknown names.
_EVERYWHERE = (*_ATTRIBUTION, "email", "phone")


# Matching.


def match_label(label: str) -> FieldMatch | None:
    """The field that a label without a path asks for."""
    if label in CLICK_IDS:
        return FieldMatch(f"click_ids.{label}", 0)
    if len(label) > MAX_LABEL_CHARS:
        return _match_consent_sentence(split_words(label[:60]))
    return _match_words(split_words(label))


def match_path(
    path: tuple[str, ...], source_phrases: Mapping[str, str] | None = None
) -> FieldMatch | None:
    """The field that a path asks for, by its last step, or its last two or three as one.

    `utm.source` and `company.name` are one such name. `source_phrases` are the source file's (by
    `to_any_script_phrase`), which win over the synonyms. Objects around a field may change nothing
    of its meaning (`lead.contact.email`, `fields[email][value]`) or make it somebody else's
    (`organizer.email`).
    """
    steps = _split_steps(path)
    if len(steps) > 1 and steps[-1].lower() == "value":
        steps = steps[:-1]
    if not steps:
        return None
    words_by_step = [split_words(step) for step in steps[-3:]]
    for length in range(len(words_by_step), 0, -1):
        words = tuple(word for step in words_by_step[-length:] for word in step)
        if source_phrases and (
            field := source_phrases.get("".join(map(to_any_script_phrase, steps[-length:])))
            or source_phrases.get("".join(_trim(words)))
        ):
            return FieldMatch(field, -1)
        if length > 1 and "".join(words) not in FIELD_BY_PHRASE:
            continue
        if match := _match_words(words) if length > 1 else match_label(steps[-1]):
            return _match_within(match, steps[:-length])
    return None


def _split_steps(path: tuple[str, ...]) -> list[str]:
    """The steps of a path; `contact[email]` is two, `interests[]` one."""
    names = [step[: MAX_LABEL_CHARS + 1] for step in path]
    if not any("[" in step for step in path):
        return names
    return [part for name in names for part in _BRACKETS.split(name) if part]


def _match_words(words: tuple[str, ...]) -> FieldMatch | None:
    phrase = "".join(words)
    if phrase in FIELD_BY_PHRASE:
        return FieldMatch(FIELD_BY_PHRASE[phrase], 1 if phrase in _SECOND_CHOICE else 0)
    if phrase in _NEVER or len(phrase) < 3:
        return None
    core = "".join(_trim(words))
    if core in FIELD_BY_PHRASE:
        return FieldMatch(FIELD_BY_PHRASE[core], 3 if core in _SECOND_CHOICE else 2)
    return _match_consent_sentence(words) or _match_long_question(words)


def _trim(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words without the neutral ones and numbers at both ends."""
    first, last = 0, len(words)
    while first < last and (words[first] in _NEUTRAL or words[first].isdigit()):
        first += 1
    while last > first and (words[last - 1] in _CLOSING or words[last - 1].isdigit()):
        last -= 1
    return words[first:last]


def _match_consent_sentence(words: tuple[str, ...]) -> FieldMatch | None:
    return FieldMatch("consent", 4) if "".join(words).startswith(_ASKS_CONSENT) else None


def _match_long_question(words: tuple[str, ...]) -> FieldMatch | None:
    """A longer question for an e-mail or a phone; the caller checks that the value is one."""
    mentions = {*words, *(first + second for first, second in pairwise(words))}
    field = "email" if mentions & _ASKS_EMAIL else "phone" if mentions & _ASKS_PHONE else None
    return FieldMatch(field, 6) if field and not mentions & _GUARDS else None


def _match_within(match: FieldMatch, around: list[str]) -> FieldMatch | None:
    """The same match, seen with the objects around it."""
    for step in around:
        words = split_words(step)
        name = "".join(words)
        if _GUARDS.intersection(words) or (match.field in _PERSONAL and name in _NOT_A_PERSON):
            return None
        if step.isdigit() and step != "0" and not match.field.startswith(_ATTRIBUTION):
            return None
        if name in _WRAPPERS or "".join(_trim(words)) in _WRAPPERS or not _trim(words):
            continue
        if not match.field.startswith(_EVERYWHERE):
            return None
        match = FieldMatch(match.field, match.rank + 2)
    return FieldMatch(match.field, match.rank + (1 if around else 0))
