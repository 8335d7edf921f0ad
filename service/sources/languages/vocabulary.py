"""The words by which forms ask for things, from `service/sources/languages/*.toml`.

One file a language. Nothing is read at import: the files are read for the first form.
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
# Letters of the shortest word that may have the ending of a grammatical case.
MIN_INFLECTED_CHARS = 7

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_ASCII = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
# Keys under `fields` that are short for a canonical field.
_FIELD_BY_KEY = {"value": "value.amount", "currency": "value.currency"}
# Of a word that several languages use differently, the first of these counts.
_OWNER_KINDS = (
    "guardian", "relative", "owner", "other_person", "repeat", "ambiguous", "record", "thing",
    "company", "person",
)  # fmt: skip
_NOT_THE_PERSON = ("guardian", "relative", "owner", "other_person")
# The attributes of `Vocabulary` that are sets of single words.
_WORD_SETS = (
    "neutral", "closing", "wrapper", "person", "contact", "guardian", "company", "relative",
    "owner", "ambiguous", "other_person", "repeat", "thing", "record", "unrelated", "number",
    "owners", "strange", "asks_email", "asks_phone", "asks_consent", "negation",
    "negation_in_front", "refusal", "no_objection",
)  # fmt: skip
# Letters of a word that mentions a message if one phrase for a message has it, or several do.
_MIN_MESSAGE_LETTERS, _MIN_SHARED_LETTERS = 4, 3

Tables = dict[str, dict[str, Any]]


class Meaning(Struct, frozen=True):
    """What a phrase asks for in some languages: a canonical field, or None for anything else.

    `gives_way`: any other phrase of the same field is a better one.
    """

    field: str | None
    languages: frozenset[str]
    gives_way: bool = False


class Convention(Struct, frozen=True):
    """What names mean (`fields`, by phrase) if all the phrases `beside` are names as well."""

    beside: frozenset[str]
    fields: dict[str, str]


class Vocabulary(Struct, frozen=True, kw_only=True):
    """All languages in one; phrases are as `to_phrase` writes them, words as `split_words` does.

    | phrases                | what they are                                                     |
    |------------------------|-------------------------------------------------------------------|
    | `meanings`             | every phrase that is known, and what it may ask for               |
    | `conventions`          | phrases whose meaning depends on the names beside them            |
    | `choices`              | ask for a message, or for a choice from a list                    |
    | `either`               | ask for an e-mail or a phone: the value decides                   |
    | `given_beside_family`  | ask for the given name, if another field asks for the family name |
    | `family_beside_given`  | the reverse                                                       |
    | `yes`, `no`            | values of a tick box                                              |
    | `consent_openings`     | how a sentence of consent begins                                  |

    | words                  | what they are                                                     |
    |------------------------|-------------------------------------------------------------------|
    | `neutral`, `closing`   | say nothing at the beginning, or at the end, of a label           |
    | `affixes`              | the neutral ones in scripts without spaces, the longest first     |
    | `wrapper`              | objects that do not say whose their fields are                    |
    | `person`, `contact`    | whoever fills in the form; a company's contact                    |
    | `guardian`             | the lead, if a child has no address of its own                    |
    | `company`              | the person's company                                              |
    | `relative`, `owner`    | the lead only if nobody else is; `owner` is that of a thing       |
    | `ambiguous`            | the person or somebody else                                       |
    | `other_person`         | somebody else                                                     |
    | `repeat`               | a second copy of a field                                          |
    | `thing`                | has a name or a number of its own                                 |
    | `record`               | what the lead has sent: an order, a booking                       |
    | `unrelated`            | change the question of a phrase: `phone type`, `id_empresa`       |
    | `number`               | ask for a number that is no phone's, unless a phone is mentioned  |
    | `owners`               | all words that say whose a field is                               |
    | `strange`              | all words that give a question to somebody or something else      |
    | `asks_…`               | mention an e-mail, a phone, a message or consent                  |
    | `negation`             | turn a sentence round; `negation_in_front` only as its first word |
    | `refusal`              | refuse in themselves: `withdraw`                                  |
    | `no_objection`         | turn a negation round again: `I do not mind`                      |
    """

    meanings: dict[str, tuple[Meaning, ...]]
    conventions: tuple[Convention, ...]
    choices: frozenset[str]
    either: frozenset[str]
    given_beside_family: frozenset[str]
    family_beside_given: frozenset[str]
    yes: frozenset[str]
    no: frozenset[str]
    consent_openings: tuple[str, ...]
    neutral: frozenset[str]
    closing: frozenset[str]
    affixes: tuple[str, ...]
    wrapper: frozenset[str]
    person: frozenset[str]
    contact: frozenset[str]
    guardian: frozenset[str]
    company: frozenset[str]
    relative: frozenset[str]
    owner: frozenset[str]
    ambiguous: frozenset[str]
    other_person: frozenset[str]
    repeat: frozenset[str]
    thing: frozenset[str]
    record: frozenset[str]
    unrelated: frozenset[str]
    number: frozenset[str]
    owners: frozenset[str]
    strange: frozenset[str]
    asks_email: frozenset[str]
    asks_phone: frozenset[str]
    asks_message: frozenset[str]
    asks_consent: frozenset[str]
    asks_consent_unspaced: tuple[str, ...]
    negation: frozenset[str]
    negation_in_front: frozenset[str]
    refusal: frozenset[str]
    no_objection: frozenset[str]

    def owner_word(self, word: str) -> str | None:
        """The word of `owners` that this is, in whatever case: `Besitzers`, `кандидата`."""
        if word in self.owners:
            return word
        if len(word) < MIN_INFLECTED_CHARS:
            return None
        stems = (word[:-1], word[:-2])
        return next((one for one in stems if one in self.owners and one not in self.thing), None)


@cache
def vocabulary() -> Vocabulary:
    """The words of all languages; read once."""
    tables = {
        file.stem: tomllib.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.toml"))
    }
    words = _read_words(tables)
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
        choices=_read_phrases(tables, "second_choice", "choices"),
        either=_read_either(tables, words),
        given_beside_family=_read_phrases(tables, "names", "given_beside_family"),
        family_beside_given=_read_phrases(tables, "names", "family_beside_given"),
        yes=_read_phrases(tables, "values", "yes"),
        no=_read_phrases(tables, "values", "no"),
        consent_openings=tuple(sorted(_read_phrases(tables, "values", "consent_openings"))),
        affixes=tuple(
            sorted(filter(is_unspaced, words["neutral"]), key=lambda word: (-len(word), word))
        ),
        asks_message=_find_message_words(tables, words),
        asks_consent_unspaced=tuple(filter(is_unspaced, sorted(words["asks_consent"]))),
        **{kind: frozenset(words[kind]) for kind in _WORD_SETS},
    )


def asks_for(label: str) -> str | None:
    """The canonical field that a whole label asks for in some language."""
    meanings = vocabulary().meanings.get(to_phrase(label))
    return meanings[0].field if meanings else None


def is_unspaced(word: str) -> bool:
    """Whether a word is in a script that puts no spaces between words."""
    return not word.isascii() and _UNSPACED.search(word) is not None


def _read_words(tables: Tables) -> dict[str, set[str]]:
    """Kind -> its words in all languages."""
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
    # A word for somebody else in any language is never taken for a harmless one.
    taken: set[str] = set()
    for kind in _OWNER_KINDS:
        words[kind] -= taken - words["ambiguous"] if kind == "company" else taken
        taken |= words[kind]
    for kind in ("neutral", "closing"):
        words[kind] -= taken - words["person"]
    words["wrapper"] -= words["other_person"] | words["ambiguous"]
    others = set().union(*(words[kind] for kind in _NOT_THE_PERSON))
    words["owners"] = others | words["person"] | words["company"] | words["thing"] | words["repeat"]
    words["strange"] = others | words["repeat"] | words["unrelated"]
    words["number"] |= words["unrelated"]
    return words


def _read_either(tables: Tables, words: dict[str, set[str]]) -> frozenset[str]:
    """The phrases of no field that mention both an e-mail and a phone."""
    return frozenset(
        to_phrase(text)
        for table in tables.values()
        for text in table.get("other", {}).get("phrases", ())
        if not words["asks_email"].isdisjoint(split_words(text))
        and not words["asks_phone"].isdisjoint(split_words(text))
    )


def _read_meanings(tables: Tables) -> dict[str, tuple[Meaning, ...]]:
    """Phrase -> what it may ask for, the meaning of most languages first."""
    languages: dict[str, dict[str | None, set[str]]] = defaultdict(lambda: defaultdict(set))
    gives_way = _read_phrases(tables, "second_choice", "phrases")
    for language, table in tables.items():
        for name, phrases in table.get("fields", {}).items():
            field = _FIELD_BY_KEY.get(name, name)
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


def _find_message_words(tables: Tables, words: dict[str, set[str]]) -> frozenset[str]:
    """The words that mention a message: those of its phrases that no other phrase has."""
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
        if len(word) >= (_MIN_SHARED_LETTERS if count > 1 else _MIN_MESSAGE_LETTERS)
        and word not in others
        and word not in silent
    )


def _read_phrases(tables: Tables, group: str, key: str) -> frozenset[str]:
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
    """A text, and how it is written in ASCII: `år` is `aar`."""
    return {text, text.lower().translate(_ASCII)}
