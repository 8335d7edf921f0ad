"""Whose a field is, by the objects around it and the words of its name.

`agent.email`, `email_parent` and `recipient name` belong to somebody, who need not be the lead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

from msgspec import Struct

from service.sources.fields.phrases import PhraseMatcher, is_mark
from service.sources.languages.vocabulary import Vocabulary
from service.sources.languages.words import split_words

# What belongs to one person, and must never be completed from another one's data.
PERSONAL = frozenset({"email", "phone", "name", "first_name", "last_name", "job_title"})
NAMES = frozenset({"name", "first_name", "last_name"})
CONTACT = frozenset({"email", "phone"})
# What describes the person's company or place: the company's own object will do as well.
AROUND_PERSON = frozenset({"company", "website", "country"})
TRACKING_PREFIXES = ("utm_", "click_ids.")
# What describes the page and the form, and is only read from names without an owner.
ABOUT_FORM = frozenset({"page_url", "referrer", "form_id", "form_name", "occurred_at", "event_id"})
# Numbers that count people: `guest 2 email` is not the first guest's.
_FURTHER = frozenset("23456789")


class Ownership(IntEnum):
    """Whose a field is: the nearer to the person who fills in the form, the lower."""

    SELF = 0
    PERSON = 1
    COMPANY = 2
    GUARDIAN = 3
    UNKNOWN = 4
    RELATIVE = 5
    AMBIGUOUS = 6
    THING = 7
    OTHER = 8


class Owner(Struct, frozen=True):
    """Who owns a field; `name` is empty where the payload has no word for the owner.

    `is_object`: an object of the payload names the owner, rather than a word of the field's name.
    """

    kind: Ownership
    name: str = ""
    is_object: bool = False


def is_eligible(target: str, owner: Owner) -> bool:
    """Whether a field of this owner may become this canonical field at all."""
    kind = owner.kind
    if target.startswith(TRACKING_PREFIXES):
        return True
    if kind is Ownership.OTHER:
        return False
    if target in ABOUT_FORM:
        return kind is Ownership.SELF
    if target in NAMES:
        return kind not in (Ownership.THING, Ownership.COMPANY)
    if kind is Ownership.THING:
        return target == "consent" or (target in CONTACT and not owner.is_object)
    return True


class OwnerFinder:
    """Finds the owner of a field, given the vocabulary of owners."""

    def __init__(self, vocabulary: Vocabulary, phrases: PhraseMatcher) -> None:
        self.vocabulary = vocabulary
        self.phrases = phrases

    def find(self, around: Sequence[str], prefix: Iterable[str] = ()) -> Owner:
        """The owner, by the objects around a field and the words beside its phrase."""
        kind, name, is_object = Ownership.SELF, "", False
        is_ambiguous = False
        groups = [(split_words(step), step) for step in around]
        for words, step in (*groups, (tuple(prefix), "")):
            if step.isdigit() and step != "0":
                return Owner(Ownership.OTHER, name, is_object=True)
            if step and (composite := self._composite_field(words)):
                if composite == "name" and kind is Ownership.SELF:
                    kind, name, is_object = Ownership.PERSON, "".join(words), True
                continue
            if words == ("to",):
                return Owner(Ownership.OTHER, "to", is_object=True)
            for before, word in zip(("", *words), words, strict=False):
                of_word = self.kind_of(word, is_object=bool(step))
                if word in _FURTHER and before in self.vocabulary.person and not step:
                    of_word = Ownership.RELATIVE
                if of_word is None:
                    continue
                if of_word is Ownership.OTHER:
                    return Owner(Ownership.OTHER, word, is_object=bool(step))
                if of_word is Ownership.AMBIGUOUS and (
                    kind is Ownership.PERSON and word in self.vocabulary.company
                ):
                    # A lead's account is its company; any other account may be the recipient's.
                    of_word = Ownership.COMPANY
                if of_word is Ownership.AMBIGUOUS:
                    is_ambiguous, name, is_object = True, word, bool(step) or is_object
                elif of_word is Ownership.UNKNOWN and kind is not Ownership.SELF:
                    # An unknown word does not change whose the object around it is.
                    name += word if kind is Ownership.UNKNOWN else ""
                else:
                    kind, name, is_object = of_word, word, bool(step)
        if is_ambiguous and kind in (Ownership.SELF, Ownership.PERSON, Ownership.UNKNOWN):
            kind = Ownership.AMBIGUOUS
        return Owner(kind, name, is_object)

    def kind_of(self, word: str, *, is_object: bool) -> Ownership | None:
        """The owner that a word names, in the name of an object or a field; None for no owner."""
        vocabulary = self.vocabulary
        if word in vocabulary.other_person or word in vocabulary.repeat:
            return Ownership.OTHER
        if word in vocabulary.relative:
            return Ownership.RELATIVE
        if word in vocabulary.owner:
            # A form asks for the owner of a pet or a house; a payload names the record's owner.
            return Ownership.OTHER if is_object else Ownership.RELATIVE
        if word in vocabulary.ambiguous:
            return Ownership.AMBIGUOUS
        if word in vocabulary.guardian:
            return Ownership.GUARDIAN
        if word in vocabulary.person:
            return Ownership.PERSON
        if is_object and word in vocabulary.wrapper:
            return None
        if word in vocabulary.company:
            return Ownership.COMPANY
        if word in vocabulary.record:
            return Ownership.UNKNOWN
        if word in vocabulary.thing:
            return Ownership.THING
        is_neutral = (
            word in vocabulary.neutral
            or word in vocabulary.closing
            or word in vocabulary.wrapper
            or is_mark(word)
        )
        if is_neutral:
            return None
        stem = vocabulary.owner_word(word)
        return self.kind_of(stem, is_object=is_object) if stem else Ownership.UNKNOWN

    def _composite_field(self, words: tuple[str, ...]) -> str | None:
        """The field whose parts an object holds: `yourName.firstName`, `email.value`."""
        is_phrase = "".join(words) in self.vocabulary.meanings
        if not is_phrase and any(self.kind_of(word, is_object=True) for word in words[:-1]):
            return None
        match = self.phrases.match_whole(words)
        return match.field if match and match.field in ("name", "email", "phone") else None
