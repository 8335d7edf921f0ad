"""The words by which forms ask for things, from `service/sources/languages/*.toml`.

One file a language. Nothing is read at import: the first form costs the reading of the files.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from service.sources.languages.words import split_words, to_phrase
from worker.lead.templates import CLICK_IDS

FOLDER = Path(__file__).parent

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_ASCII = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
# Names of the files that are not those of canonical fields.
_FIELDS = {"value": "value.amount", "currency": "value.currency"}


class Meaning(Struct, frozen=True):
    """What a phrase asks for in some languages: a canonical field, or None for anything else.

    `gives_way`: any other phrase of the same field is a better one.
    """

    field: str | None
    languages: frozenset[str]
    gives_way: bool = False


class Convention(Struct, frozen=True):
    """What names mean (`fields`, by phrase) where all the phrases `beside` are names as well."""

    beside: frozenset[str]
    fields: dict[str, str]


class Vocabulary(Struct, frozen=True, kw_only=True):
    """All languages in one. Phrases and words are as `to_phrase` and `split_words` write them.

    `meanings` hold what a whole phrase may ask for. `choices` are phrases for a message that may
    as well be a list to choose from. The sets are of single words: `neutral` and
    `closing` say nothing about the question, `wrapper` nothing about whose the fields of an object
    are. `person` is whoever fills in, `other_person` somebody else (a `relative`, or the
    `owner` of a thing, may still be the lead where nobody else is), `ambiguous` one of both,
    `company` the person's firm, `thing` what has a name or a number of its own. `repeat` marks a
    second copy of a field. A `guardian` is the lead where a child has no address of its own, and
    a `record` is what the lead has sent: an order, a booking. `contact` is the `person` of a firm.
    A `number` beside no word for a phone is none of a phone. `owners` are all words that say whose
    a field is, `strange` those that make a question one for somebody or something else.
    `unrelated` words make another question of a phrase beside them: `phone type`, `id_empresa`.
    `either` are phrases for an e-mail or a phone: the value tells.
    """

    meanings: dict[str, tuple[Meaning, ...]]
    conventions: tuple[Convention, ...]
    choices: frozenset[str]
    given_beside_family: frozenset[str]
    family_beside_given: frozenset[str]
    neutral: frozenset[str]
    closing: frozenset[str]
    wrapper: frozenset[str]
    person: frozenset[str]
    other_person: frozenset[str]
    relative: frozenset[str]
    owner: frozenset[str]
    ambiguous: frozenset[str]
    company: frozenset[str]
    thing: frozenset[str]
    repeat: frozenset[str]
    guardian: frozenset[str]
    record: frozenset[str]
    unrelated: frozenset[str]
    owners: frozenset[str]
    number: frozenset[str]
    strange: frozenset[str]
    contact: frozenset[str]
    asks_email: frozenset[str]
    asks_phone: frozenset[str]
    asks_consent: frozenset[str]
    asks_consent_unspaced: tuple[str, ...]
    asks_message: frozenset[str]
    either: frozenset[str]
    yes: frozenset[str]
    no: frozenset[str]
    consent_openings: tuple[str, ...]
    affixes: tuple[str, ...]


@cache
def vocabulary() -> Vocabulary:
    """The words of all languages; read once."""
    tables = {
        file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.toml"))
    }
    words: dict[str, set[str]] = defaultdict(set)
    for table in tables.values():
        for kind, text in table.get("words", {}).items():
            words[kind].update(
                word
                for part in text.split()
                for spelling in _spellings(part)
                for word in split_words(spelling)
                if len(word) > 1 or not word.isascii() or kind.startswith("asks_")
            )
    # A word that means somebody else in any language is never taken for a harmless one.
    taken: set[str] = set()
    for kind in (
        "guardian", "relative", "owner", "other_person", "repeat", "ambiguous", "record", "thing",
        "company", "person",
    ):  # fmt: skip
        words[kind] -= taken - words["ambiguous"] if kind == "company" else taken
        taken |= words[kind]
    for kind in ("neutral", "closing"):
        words[kind] -= taken - words["person"]
    words["wrapper"] -= words["other_person"] | words["ambiguous"]
    words["owners"] = words["thing"] | words["repeat"] | words["company"]
    words["strange"] = words["repeat"] | words["unrelated"]
    for kind in ("person", "guardian", "relative", "owner", "other_person"):
        words["owners"] |= words[kind]
    for kind in ("guardian", "relative", "owner", "other_person"):
        words["strange"] |= words[kind]
    neutral = frozenset(words["neutral"])
    return Vocabulary(
        meanings=_read_meanings(tables),
        conventions=tuple(
            Convention(
                frozenset(_to_phrases(one["beside"])),
                {to_phrase(name): field for name, field in one["fields"].items()},
            )
            for table in tables.values()
            for one in table.get("conventions", ())
        ),
        choices=_phrases(tables, "second_choice", "choices"),
        given_beside_family=_phrases(tables, "names", "given_beside_family"),
        family_beside_given=_phrases(tables, "names", "family_beside_given"),
        neutral=neutral,
        closing=frozenset(words["closing"]),
        wrapper=frozenset(words["wrapper"]),
        person=frozenset(words["person"]),
        other_person=frozenset(words["other_person"]),
        relative=frozenset(words["relative"]),
        owner=frozenset(words["owner"]),
        ambiguous=frozenset(words["ambiguous"]),
        company=frozenset(words["company"]),
        thing=frozenset(words["thing"]),
        repeat=frozenset(words["repeat"]),
        guardian=frozenset(words["guardian"]),
        record=frozenset(words["record"]),
        unrelated=frozenset(words["unrelated"]),
        owners=frozenset(words["owners"]),
        number=frozenset(words["number"] | words["unrelated"]),
        strange=frozenset(words["strange"]),
        contact=frozenset(words["contact"]),
        asks_email=frozenset(words["asks_email"]),
        asks_phone=frozenset(words["asks_phone"]),
        asks_consent=frozenset(words["asks_consent"]),
        asks_consent_unspaced=tuple(filter(is_unspaced, sorted(words["asks_consent"]))),
        asks_message=_message_words(tables, words),
        either=frozenset(
            to_phrase(text)
            for table in tables.values()
            for text in table.get("other", {}).get("phrases", ())
            if words["asks_email"] & (text_words := set(split_words(text)))
            and words["asks_phone"] & text_words
        ),
        yes=_phrases(tables, "values", "yes"),
        no=_phrases(tables, "values", "no"),
        consent_openings=tuple(sorted(_phrases(tables, "values", "consent_openings"))),
        affixes=tuple(
            sorted((word for word in neutral if is_unspaced(word)), key=len, reverse=True)
        ),
    )


def asks_for(label: str) -> str | None:
    """The canonical field that a whole label asks for in some language."""
    meanings = vocabulary().meanings.get(to_phrase(label))
    return meanings[0].field if meanings else None


def is_unspaced(word: str) -> bool:
    """Whether it is written in a script that puts no spaces between words."""
    return not word.isascii() and _UNSPACED.search(word) is not None


def _read_meanings(tables: dict[str, dict[str, Any]]) -> dict[str, tuple[Meaning, ...]]:
    """Phrase -> what it may ask for, the meaning of most languages first."""
    languages: dict[str, dict[str | None, set[str]]] = defaultdict(lambda: defaultdict(set))
    gives_way = _phrases(tables, "second_choice", "phrases")
    for language, table in tables.items():
        for name, phrases in table.get("fields", {}).items():
            field = _FIELDS.get(name, name)
            for phrase in _to_phrases(phrases):
                languages[phrase][field].add(language)
        # A guardian's fields are the lead's where a child is signed up.
        guardians = split_words(table.get("words", {}).get("guardian", ""))
        for phrase in _to_phrases(table.get("other", {}).get("phrases", ())):
            if not any(len(word) > 1 and word in phrase for word in guardians):
                languages[phrase][None].add(language)
    meanings = {
        phrase: tuple(
            Meaning(field, frozenset(codes), gives_way=phrase in gives_way)
            for field, codes in sorted(
                by_field.items(),
                key=lambda item: ("en" not in item[1], -len(item[1]), item[0] is None),
            )
        )
        for phrase, by_field in languages.items()
        if phrase
    }
    for name in CLICK_IDS:
        # A cookie (`_ga`) is known by its exact name alone: `GA` may be anything.
        if not name.startswith("_"):
            meanings[to_phrase(name)] = (Meaning(f"click_ids.{name}", frozenset()),)
    return meanings


def _message_words(tables: dict[str, dict[str, Any]], words: dict[str, set[str]]) -> frozenset[str]:
    """The words that speak of a message: those of its phrases that stand in no other's."""
    counts: Counter[str] = Counter()
    others: set[str] = set()
    for table in tables.values():
        for field, phrases in table.get("fields", {}).items():
            phrase_words = [
                split_words(spelling) for text in phrases for spelling in _spellings(text)
            ]
            if field == "message":
                counts.update(word for phrase in phrase_words for word in set(phrase))
            else:
                others.update(word for phrase in phrase_words for word in phrase)
        for phrase in table.get("other", {}).get("phrases", ()):
            others.update(split_words(phrase))
    silent = words["neutral"] | words["closing"] | words["wrapper"] | words["owners"]
    return frozenset(
        word
        for word, count in counts.items()
        if (count > 1 or len(word) > 3)
        and len(word) > 2
        and word not in others
        and word not in silent
    )


def _phrases(tables: dict[str, dict[str, Any]], group: str, key: str) -> frozenset[str]:
    return frozenset(
        phrase
        for table in tables.values()
        for phrase in _to_phrases(table.get(group, {}).get(key, ()))
    )


def _to_phrases(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for spelling in _spellings(text):
            if phrase := to_phrase(spelling):
                yield phrase


def _spellings(text: str) -> set[str]:
    """A text, and how it is written in ASCII alone: `år` is `aar`."""
    return {text, text.lower().translate(_ASCII)}
