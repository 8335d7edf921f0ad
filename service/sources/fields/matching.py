"""From a label to the canonical field that it asks for, in any spelling and nine languages. Pure
look-ups in `vocabulary`.
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

MAX_LABEL_CHARS = 200
"""Longer questions are answers in their own right, except for the sentence beside a tick box."""

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


class FieldMatch(Struct, frozen=True):
    """The field a label asks for; of several labels for one field, the lowest rank wins, then the
    first.
    """

    field: str
    rank: int


@lru_cache(maxsize=8192)
def split_words(label: str) -> tuple[str, ...]:
    """The words of a label: no accents, case or punctuation; `emailAddress` is two, `q11_name`
    three.
    """
    plain = (
        label
        if label.isascii()
        else unicodedata.normalize("NFKD", limit_marks(label).translate(_LETTERS))
    )
    return tuple(
        _WORD.findall(_CAMEL.sub(" ", plain if plain.isascii() else _without_marks(plain)).lower())
    )


def to_phrase(label: str) -> str:
    return "".join(split_words(label))


def to_any_script_phrase(label: str) -> str:
    """As `phrase`, with the letters of every script: a source's own names may be in any, the
    vocabulary's are in Latin ones.
    """
    if label.isascii():
        return to_phrase(label)
    plain = unicodedata.normalize("NFKD", limit_marks(label).translate(_LETTERS)).casefold()
    return "".join(character for character in plain if character.isalnum())


def to_phrases(text: str) -> Iterable[str]:
    """The phrases of a comma-separated list."""
    return (to_phrase(part) for part in text.split(","))


def _without_marks(text: str) -> str:
    return "".join(character for character in text if not unicodedata.combining(character))


CLICK_ID_PHRASES = {
    to_phrase(name): f"click_ids.{name}" for name in CLICK_IDS if not name.startswith("_")
}
"""Cookies among the click ids (`_ga`) are recognised by their exact names alone: `GA` may be
anything.
"""


def _table() -> dict[str, str]:
    """Phrase -> field. Where two fields share a phrase, the first in the table keeps it."""
    found = dict(CLICK_ID_PHRASES)
    for field, languages in synonyms.PHRASES.items():
        for text in languages.values():
            for each in to_phrases(text):
                found.setdefault(each, field)
    return found


FIELD_BY_PHRASE = _table()
_SECOND = frozenset(to_phrases(synonyms.SECOND_CHOICE))
_NEVER = frozenset(to_phrases(synonyms.NEVER))
_NEUTRAL = frozenset(word for text in synonyms.NEUTRAL.values() for word in text.split())
_CLOSING = frozenset(synonyms.CLOSING.split())
_WRAPPERS = frozenset(synonyms.WRAPPERS.split()) | {"0"}
_NOT_A_PERSON = frozenset(synonyms.NOT_A_PERSON.split())
_GUARDS = frozenset(synonyms.GUARDS.split())
_ASKS_EMAIL = frozenset(synonyms.ASKS_EMAIL.split())
_ASKS_PHONE = frozenset(synonyms.ASKS_PHONE.split())
_ASKS_CONSENT = tuple(to_phrases(synonyms.ASKS_CONSENT))
_EVERYWHERE = ("utm_", "click_ids.", "email", "phone")
"""Fields that keep their meaning inside objects with unknown names."""
_ATTRIBUTION = ("utm_", "click_ids.")
_PERSONAL = frozenset({"name", "first_name", "last_name", "company"})


def match_label(label: str) -> FieldMatch | None:
    """The field that a label without a path asks for."""
    if label in CLICK_IDS:
        return FieldMatch(f"click_ids.{label}", 0)
    return (
        _recognise(split_words(label))
        if len(label) <= MAX_LABEL_CHARS
        else _sentence(split_words(label[:60]))
    )


def _recognise(spoken: tuple[str, ...]) -> FieldMatch | None:
    whole = "".join(spoken)
    if whole in FIELD_BY_PHRASE:
        return FieldMatch(FIELD_BY_PHRASE[whole], 1 if whole in _SECOND else 0)
    if whole in _NEVER or len(whole) < 3:
        return None
    core = "".join(_trimmed(spoken))
    if core in FIELD_BY_PHRASE:
        return FieldMatch(FIELD_BY_PHRASE[core], 3 if core in _SECOND else 2)
    return _sentence(spoken) or _longer(spoken)


def match_path(path: tuple[str, ...], own: Mapping[str, str] | None = None) -> FieldMatch | None:
    """The field that a path asks for: by its last step, or its last two or three as one
    (`utm.source`, `company.name`).

    `own` are phrases of the source itself (by `own_phrase`); they win over the vocabulary. Objects
    around a field may change nothing of its meaning (`lead.contact.email`, `fields[email][value]`)
    or make it somebody else's (`organizer.email`).
    """
    steps = _steps(path)
    if len(steps) > 1 and steps[-1].lower() == "value":
        steps = steps[:-1]
    if not steps:
        return None
    spoken = [split_words(step) for step in steps[-3:]]
    for length in range(len(spoken), 0, -1):
        tail = tuple(word for step in spoken[-length:] for word in step)
        if own and (
            field := own.get("".join(map(to_any_script_phrase, steps[-length:])))
            or own.get("".join(_trimmed(tail)))
        ):
            return FieldMatch(field, -1)
        if length > 1 and "".join(tail) not in FIELD_BY_PHRASE:
            continue
        if guess := _recognise(tail) if length > 1 else match_label(steps[-1]):
            return _within(guess, steps[:-length])
    return None


def _within(guess: FieldMatch, around: list[str]) -> FieldMatch | None:
    """The same guess, seen with the objects around it."""
    for step in around:
        inside = split_words(step)
        name = "".join(inside)
        if _GUARDS.intersection(inside) or (guess.field in _PERSONAL and name in _NOT_A_PERSON):
            return None
        if step.isdigit() and step != "0" and not guess.field.startswith(_ATTRIBUTION):
            return None
        if name in _WRAPPERS or "".join(_trimmed(inside)) in _WRAPPERS or not _trimmed(inside):
            continue
        if not guess.field.startswith(_EVERYWHERE):
            return None
        guess = FieldMatch(guess.field, guess.rank + 2)
    return FieldMatch(guess.field, guess.rank + (1 if around else 0))


def _steps(path: tuple[str, ...]) -> list[str]:
    """The steps of a path; `contact[email]` is two, `interests[]` one."""
    if not any("[" in step for step in path):
        return [step[: MAX_LABEL_CHARS + 1] for step in path]
    return [part for step in path for part in _BRACKETS.split(step[: MAX_LABEL_CHARS + 1]) if part]


def _trimmed(spoken: tuple[str, ...]) -> tuple[str, ...]:
    """Without the neutral words and numbers at both ends."""
    first, last = 0, len(spoken)
    while first < last and (spoken[first] in _NEUTRAL or spoken[first].isdigit()):
        first += 1
    while last > first and (spoken[last - 1] in _CLOSING or spoken[last - 1].isdigit()):
        last -= 1
    return spoken[first:last]


def _longer(spoken: tuple[str, ...]) -> FieldMatch | None:
    """A longer question for an e-mail or a phone: the value must look like one, which the caller
    checks.
    """
    seen = {*spoken, *(first + second for first, second in pairwise(spoken))}
    field = "email" if seen & _ASKS_EMAIL else "phone" if seen & _ASKS_PHONE else None
    return FieldMatch(field, 6) if field and not seen & _GUARDS else None


def _sentence(spoken: tuple[str, ...]) -> FieldMatch | None:
    return FieldMatch("consent", 4) if "".join(spoken).startswith(_ASKS_CONSENT) else None
