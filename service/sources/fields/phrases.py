"""Matches the words of a name with the phrases of the vocabulary: whole, by its end or beginning.

`kunde_email` ends with a known phrase and `telefon_kontakt` begins with one; what remains of the
name may say whose the field is.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from service.sources.languages.vocabulary import Meaning, Vocabulary, is_unspaced

# Words of the longest phrase that is looked for at the beginning and the end of a name.
MAX_PHRASE_WORDS = 8
# Words of a name that are trimmed.
MAX_TRIMMED_WORDS = 40
# Characters of a word in a script without spaces.
MAX_UNSPACED_CHARS = 40
# Affixes that are removed from such a word.
MAX_AFFIXES = 3
# Letters of a word after a phrase that may be an abbreviation of whose it is.
MAX_SUFFIX_CHARS = 4
# From this many words on, a label is a question rather than the name of a field.
MIN_QUESTION_WORDS = 3


class Rank(IntEnum):
    """How plainly a name asks for a field; of several names the lowest rank wins."""

    PRODUCT = -2
    SOURCE = -1
    EXACT = 0
    TRIMMED = 1
    PREFIXED = 2
    ONE_OF_LANGUAGES = 3
    GIVES_WAY = 4
    TYPE = 6
    MENTIONED = 8


class Match(Struct):
    """One reading of a name: the `words` of a phrase, and what they may mean.

    `prefix` are the words that say whose the field is. `is_question`: the name is a longer label,
    in which the phrase is only a part.
    """

    meanings: tuple[Meaning, ...]
    rank: int
    words: tuple[str, ...]
    why: str
    prefix: tuple[str, ...] = ()
    is_question: bool = False

    @property
    def phrase(self) -> str:
        return "".join(self.words)

    @property
    def field(self) -> str | None:
        """The canonical field of the likeliest meaning."""
        return self.meanings[0].field


class PhraseMatcher:
    """Finds the phrases of a vocabulary in the words of names."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def match_whole(self, words: tuple[str, ...]) -> Match | None:
        """The phrase that a name is, as it stands or without its neutral words."""
        return self._match_exactly(words, Rank.EXACT) or self._match_exactly(
            self.trim(words), Rank.TRIMMED
        )

    def _match_exactly(self, words: tuple[str, ...], rank: Rank) -> Match | None:
        meanings = self.vocabulary.meanings.get("".join(words))
        if meanings is None:
            return None
        return Match(
            meanings,
            rank,
            words,
            f'"{" ".join(words)}"',
            prefix=self._person_before(words, meanings),
            is_question=len(words) > MIN_QUESTION_WORDS,
        )

    def _person_before(
        self, words: tuple[str, ...], meanings: tuple[Meaning, ...]
    ) -> tuple[str, ...]:
        """Whose a known phrase is, as the contact's in `contact phone`."""
        if len(words) < 2 or words[0] not in self.vocabulary.person:
            return ()
        inner = self.vocabulary.meanings.get("".join(words[1:]))
        return words[:1] if inner and inner[0].field == meanings[0].field else ()

    def match_end(self, words: tuple[str, ...]) -> Match | None:
        """The longest phrase with which a name ends; what precedes it says whose it is."""
        core = words
        while core and (core[-1] in self.vocabulary.closing or is_mark(core[-1])):
            core = core[:-1]
        for start in range(max(1, len(core) - MAX_PHRASE_WORDS), len(core)):
            prefix, phrase = core[:start], core[start:]
            meanings = self.vocabulary.meanings.get("".join(phrase))
            if meanings is None:
                continue
            if self.vocabulary.unrelated.intersection(prefix):
                return None
            return Match(
                meanings,
                Rank.PREFIXED,
                phrase,
                f'"{" ".join(phrase)}" after "{" ".join(prefix)}"',
                prefix=prefix,
                is_question=len(core) >= MIN_QUESTION_WORDS,
            )
        return None

    def match_beginning(self, words: tuple[str, ...]) -> Match | None:
        """The longest phrase with which a name begins; what follows it says whose it is."""
        for end in range(min(len(words) - 1, MAX_PHRASE_WORDS), 0, -1):
            phrase, tail = words[:end], words[end:]
            if not any(map(self.vocabulary.owner_word, tail)):
                is_suffix = len(tail) == 1 and len(tail[0]) <= MAX_SUFFIX_CHARS and end <= 2
                if not is_suffix or tail[0] in self.vocabulary.unrelated:
                    return None
            if meanings := self.vocabulary.meanings.get("".join(phrase)):
                return Match(
                    meanings,
                    Rank.PREFIXED,
                    phrase,
                    f'"{" ".join(phrase)}" before "{" ".join(tail)}"',
                    prefix=tail,
                    is_question=len(words) >= MIN_QUESTION_WORDS,
                )
        return None

    def trim(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """The words without numbers and neutral words at either end, up to a known phrase.

        Of `din e-post` the `e` is no mark that says nothing.
        """
        neutral, closing = self.vocabulary.neutral, self.vocabulary.closing
        core = words[:MAX_TRIMMED_WORDS]
        while core and (core[0] in neutral or is_mark(core[0])):
            core = core[1:]
            if self._is_field(core):
                return core
        while core and (core[-1] in closing or is_mark(core[-1])):
            core = core[:-1]
            if self._is_field(core):
                return core
        return (self._trim_unspaced(core[0]),) if len(core) == 1 else core

    def _is_field(self, words: tuple[str, ...]) -> bool:
        meanings = self.vocabulary.meanings.get("".join(words))
        return meanings is not None and meanings[0].field is not None

    def _trim_unspaced(self, word: str) -> str:
        """A word of Japanese or Chinese without neutral affixes, such as 您的."""
        if not is_unspaced(word) or len(word) > MAX_UNSPACED_CHARS:
            return word
        for _ in range(MAX_AFFIXES):
            if word in self.vocabulary.meanings:
                break
            for affix in self.vocabulary.affixes:
                if len(affix) < len(word) and word.startswith(affix):
                    word = word.removeprefix(affix)
                    break
                if len(affix) < len(word) and word.endswith(affix):
                    word = word.removesuffix(affix)
                    break
        return word


def is_mark(word: str) -> bool:
    """Whether a word is a number or a single letter, such as the parts of `q11_` and `g12-`."""
    return word.isdigit() or (len(word) == 1 and word.isascii())
