"""What a label asks for: as a whole, in each of its languages, by its end, or as a question."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from service.sources.fields.declined_consent import is_refusal
from service.sources.fields.owners import OwnerFinder, Ownership
from service.sources.fields.phrases import (
    MAX_UNSPACED_CHARS,
    MIN_QUESTION_WORDS,
    Match,
    PhraseMatcher,
    Rank,
)
from service.sources.languages.vocabulary import Meaning, Vocabulary, is_unspaced
from service.sources.languages.words import MAX_LABEL_CHARS, split_languages, split_words
from worker.lead.money import FACTOR_BY_WORD, currency_code
from worker.lead.templates import CLICK_IDS

# Words of a label that may be nothing but the word for a person.
MAX_PERSON_WORDS = 3
# Words that say nothing beside other fields.
_OTHER_AMOUNTS = frozenset({"min", "max", "current", "existing"})
# Words of a part of a label that says whose the rest is.
MAX_OWNER_WORDS = 3


class LabelReader:
    """Reads labels in the words of all languages."""

    def __init__(self, vocabulary: Vocabulary, phrases: PhraseMatcher, owners: OwnerFinder) -> None:
        self.vocabulary = vocabulary
        self.phrases = phrases
        self.owners = owners

    def read(self, label: str) -> Iterator[Match]:
        """The matches of a label; several only if its languages contradict each other."""
        if label in CLICK_IDS:
            meaning = Meaning(f"click_ids.{label}", frozenset())
            yield Match((meaning,), Rank.EXACT, (label,), f'"{label}"')
            return
        words = self._split_unspaced(split_words(label))
        matches = self._read_words(label, words)
        for match in matches:
            is_refused = match.field == "consent" and is_refusal(words)
            if not is_refused and not (match.field == "value.amount" and _is_another_amount(words)):
                yield match

    def _read_words(self, label: str, words: tuple[str, ...]) -> Iterator[Match]:
        if self._names_a_person(words):
            yield _mention("name", "it names the person", prefix=words)
            return
        is_short = len(label) <= MAX_LABEL_CHARS
        if is_short:
            if match := self.phrases.match_whole(words):
                yield match
                return
            parts = split_languages(label)
            if len(parts) > 1 and (matches := list(self._read_languages(parts))):
                yield from matches
                return
            if match := self.phrases.match_end(words) or self.phrases.match_beginning(words):
                yield match
                return
        openings = self.vocabulary.consent_openings
        texts = ("".join(words), "".join(self.phrases.trim(words)))
        if any(text.startswith(openings) for text in texts):
            yield _mention("consent", "how the sentence begins")
        elif is_short and (match := self._find_mention(words)):
            yield match

    def _split_unspaced(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Separates the owner from the phrase in scripts without spaces: 家长姓名."""
        word = words[0] if len(words) == 1 else ""
        is_long = len(word) > MAX_UNSPACED_CHARS
        if not word or is_long or word in self.vocabulary.meanings or not is_unspaced(word):
            return words
        for end in range(len(word) - 1, 0, -1):
            if word[end:] in self.vocabulary.meanings and (
                self.owners.kind_of(word[:end], is_object=False) is not Ownership.UNKNOWN
            ):
                return word[:end], word[end:]
        return words

    def _names_a_person(self, words: tuple[str, ...]) -> bool:
        """`cliente`, `encarregado de educação`: a label that is nothing but a word for somebody."""
        vocabulary = self.vocabulary
        return (
            0 < len(words) <= MAX_PERSON_WORDS
            and (
                words[0] in vocabulary.guardian
                or (words[0] in vocabulary.person and len(words) == 1)
            )
            and "".join(words) not in vocabulary.meanings
            and not any(word in vocabulary.meanings for word in words[1:])
            and vocabulary.owners.isdisjoint(words[1:])
            and vocabulary.unrelated.isdisjoint(words)
            and vocabulary.record.isdisjoint(words)
        )

    def _read_languages(self, parts: list[str]) -> Iterator[Match]:
        """`Nachname / Last name`: the first part counts, except that `E-mail / phone` is both."""
        part_matches = [
            (part, match)
            for part in parts
            if (words := split_words(part))
            and (match := self.phrases.match_whole(words) or self.phrases.match_end(words))
        ]
        if not part_matches:
            return
        matched = {part for part, _ in part_matches}
        owner = self._find_owner([part for part in parts if part not in matched])
        fields: set[str | None] = set()
        for part, match in part_matches:
            if match.field == "value.amount" and not all(
                map(self._says_nothing, (one for one in parts if one not in matched))
            ):
                continue
            if match.field in fields or (
                fields and not fields | {match.field} <= {"email", "phone"}
            ):
                continue
            fields.add(match.field)
            match.prefix = match.prefix or owner
            if len(part_matches) > 1:
                match.rank = max(match.rank, Rank.ONE_OF_LANGUAGES)
            match.why = f'"{part.strip()}" in its label'
            match.is_question = True
            yield match

    def _says_nothing(self, part: str) -> bool:
        """Whether a remark leaves an amount as it is: `Deal value (USD)`, but not `(monthly)`."""
        return all(
            word in self.vocabulary.neutral
            or word in self.vocabulary.closing
            or currency_code(word) is not None
            for word in split_words(part)
        )

    def _find_owner(self, parts: list[str]) -> tuple[str, ...]:
        """The words of the part of a label that gives the rest to somebody: `Friend: e-mail`."""
        for part in parts:
            words = split_words(part)
            if 0 < len(words) <= MAX_OWNER_WORDS and self.owners.find((), words).kind in (
                Ownership.GUARDIAN,
                Ownership.RELATIVE,
                Ownership.OTHER,
            ):
                return words
        return ()

    def _find_mention(self, words: tuple[str, ...]) -> Match | None:
        """A longer question that mentions a field, which its value must then fit."""
        vocabulary = self.vocabulary
        if self._mentions_consent(words):
            return _mention("consent", "its label mentions consent")
        mentioned = {*words, *(first + second for first, second in pairwise(words))}
        if len(words) < MIN_QUESTION_WORDS or not vocabulary.strange.isdisjoint(mentioned):
            return None
        if not vocabulary.asks_email.isdisjoint(mentioned):
            return _mention("email", "its label mentions an e-mail address")
        if not vocabulary.asks_message.isdisjoint(words):
            return _mention("message", "its label mentions a message")
        if not vocabulary.asks_phone.isdisjoint(mentioned):
            return _mention("phone", "its label mentions a phone number")
        return None

    def _mentions_consent(self, words: tuple[str, ...]) -> bool:
        return not self.vocabulary.asks_consent.isdisjoint(words) or any(
            part in word
            for word in words
            if is_unspaced(word)
            for part in self.vocabulary.asks_consent_unspaced
        )


def _is_another_amount(words: tuple[str, ...]) -> bool:
    """Whether a label asks for thousands, the end of a range or another contract's amount."""
    return any(
        word in _OTHER_AMOUNTS
        or word in FACTOR_BY_WORD
        or (word[:1] in FACTOR_BY_WORD and currency_code(word[1:]))
        for word in words
    )


def _mention(field: str, why: str, prefix: tuple[str, ...] = ()) -> Match:
    meaning = Meaning(field, frozenset())
    return Match((meaning,), Rank.MENTIONED, (), why, prefix=prefix, is_question=True)
