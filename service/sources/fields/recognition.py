"""What the names of a payload's fields ask for, worked out once for each shape of payload.

A `Plan` depends on names alone: which canonical fields each of them may ask for, how plainly, and
whose. `assignment` then looks at the values. The same names in the same order are the same form.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from msgspec import Struct

from service.sources.fields.effort import Effort
from service.sources.fields.labels import LabelReader
from service.sources.fields.owners import (
    AROUND_PERSON,
    NAMES,
    PERSONAL,
    Owner,
    OwnerFinder,
    Ownership,
    is_eligible,
)
from service.sources.fields.phrases import Match, PhraseMatcher, Rank
from service.sources.languages.vocabulary import Meaning, Vocabulary, vocabulary
from service.sources.languages.words import split_words, to_phrase
from service.sources.payload.event import PayloadField
from worker.lead.money import currency_code

# Fields of one event whose names are read; no real form has more, and the rest are answers.
MAX_NAMED_FIELDS = 300
# Characters of all names of an event that are read.
MAX_NAME_CHARS = 12_000
# Shapes that are remembered, and the characters of the names of each.
MAX_PLANS = 256
MAX_PLAN_CHARS = 16_000
# Fields of one event that may be the same one of the lead.
MAX_CANDIDATES = 40
# Keys of a path that are read as one name: `utm.source`, `company.name`.
MAX_JOINED_STEPS = 3
# With this many spaces, such keys are a question.
MIN_QUESTION_SPACES = 3
# Keys below a field that hold its value.
_VALUE_STEPS = frozenset({"value", "values", "raw", "rawvalue", "text", "answer", "0"})
# What the type of an input says of its answer.
_FIELD_BY_TYPE = {"email": "email", "tel": "phone", "phone": "phone"}
_COMPANY = "company"
_AMOUNT = "value.amount"
_IDENTIFIED = (("id",), ("name",), ("domain",))


class Candidate(Struct, frozen=True):
    """A field of the payload, by its `index`, that may be a canonical one (`target`).

    `owner` is an index into the plan's owners, None for what belongs to no person in particular.
    """

    index: int
    target: str
    rank: int
    owner: int | None
    why: str
    phrase: str = ""


class Plan(Struct, frozen=True):
    """`candidates`, the plainest first; `unowned` are the indexes of fields that nobody owns.

    Only those may turn out by their value to be an e-mail address or, unless their names ask for
    something else (`unrelated`), a phone number.
    """

    candidates: tuple[Candidate, ...]
    owners: tuple[Owner, ...]
    unowned: tuple[int, ...]
    unrelated: frozenset[int]


# Everything that is known of a field before its value is looked at: `name_path`, `aliases`,
# `lead_field` and `kind` of a `PayloadField`.
FieldName = tuple[tuple[str, ...], tuple[str, ...], str | None, str | None]
_plans: dict[object, Plan] = {}


def make_plan(fields: Sequence[PayloadField], labels: dict[str, str], effort: Effort) -> Plan:
    """The plan of an event; `labels` are the source file's own names, by their phrase.

    Once the request has used up its `effort` for names, none of them asks for anything.
    """
    shape = shape_of(fields)
    key = (shape, tuple(labels.items())) if labels else shape
    plan = _plans.get(key)
    if plan is None:
        chars = sum(map(_size, shape))
        if not effort.take_names(len(shape), chars):
            return Plan((), (), tuple(range(len(shape))), frozenset())
        plan = read_names(shape, labels).finish()
        if chars <= MAX_PLAN_CHARS:
            while len(_plans) >= MAX_PLANS:
                _plans.pop(next(iter(_plans)), None)
            _plans[key] = plan
    return plan


def shape_of(fields: Sequence[PayloadField]) -> tuple[FieldName, ...]:
    """What a plan depends on."""
    return tuple(
        [
            (one.name_path, one.aliases, one.lead_field, one.kind)
            for one in fields[:MAX_NAMED_FIELDS]
        ]
    )


def forget_plans() -> None:
    """Forgets all shapes, so that a measurement can read each for the first time."""
    _plans.clear()


def _size(name: FieldName) -> int:
    return sum(map(len, name[0])) + sum(map(len, name[1]))


def match_label(label: str) -> str | None:
    """The canonical field that a label by itself asks for, if any."""
    return match_path((label,))


def match_path(path: tuple[str, ...]) -> str | None:
    """The canonical field that the keys which lead to a value ask for, if any."""
    plan = read_names(((path, (), None, None),), {}).finish()
    return next(
        (
            one.target
            for one in plan.candidates
            if one.owner is None or plan.owners[one.owner].kind < Ownership.UNKNOWN
        ),
        None,
    )


def read_names(shape: tuple[FieldName, ...], labels: dict[str, str]) -> NameReader:
    """The names of a payload, read one by one; `finish` makes the plan of them."""
    words = vocabulary()
    chars = list(accumulate(map(_size, shape)))
    shape = shape[: bisect_right(chars, MAX_NAME_CHARS)]
    names = {to_phrase(name[0][-1]) for name in shape if name[0]}
    conventions: dict[str, str] = {}
    for convention in words.conventions:
        if convention.beside <= names:
            conventions |= convention.fields
    holders = frozenset(name[0][:-1] for name in shape if name[0][-1:] in _IDENTIFIED)
    reader = NameReader(words, labels, conventions, holders)
    for index, name in enumerate(shape):
        reader.read(index, name)
    return reader


class NameReader:
    """Reads the names of one payload, and lets them decide together what language they are in."""

    def __init__(
        self,
        words: Vocabulary,
        labels: dict[str, str],
        conventions: dict[str, str],
        holders: frozenset[tuple[str, ...]] = frozenset(),
    ) -> None:
        self.vocabulary = words
        self.labels = labels
        self.conventions = conventions
        # Paths of objects that have an id or a name: `website.url` beside `website.id`.
        self.holders = holders
        self.phrases = PhraseMatcher(words)
        self.owner_finder = OwnerFinder(words, self.phrases)
        self.label_reader = LabelReader(words, self.phrases, self.owner_finder)
        self.matches: list[tuple[int, Owner, Match]] = []
        self.candidates: list[Candidate] = []
        self.counts: Counter[str] = Counter()
        # Owners by their index in the plan.
        self.owners: dict[Owner, int] = {}
        self.unowned: set[int] = set()
        self.unrelated: set[int] = set()
        # Fields of a user, who may be the lead or somebody else.
        self.of_user: list[tuple[int, Owner, Match]] = []
        # E-mails and phones that may be somebody else's: owner -> index -> field.
        self.doubtful: dict[Owner, dict[int, str]] = {}
        # What names ask for whose owner cannot be the lead's person: index, field and owner.
        self.refused: list[tuple[int, str, Owner]] = []

    def read(self, index: int, name: FieldName) -> None:
        """Collects what one name may ask for."""
        name_path, aliases, lead_field, kind = name
        if lead_field:
            # The type of a question says what its answer is, and only its label says whose.
            owner = self.owner_finder.find((), split_words(name_path[-1])) if name_path else None
            if owner is None or owner.kind not in (Ownership.PERSON, Ownership.GUARDIAN):
                owner = Owner(Ownership.SELF)
            self._add(index, lead_field, Rank.PRODUCT, owner, "the product says so")
            return
        paths = (name_path, *((alias,) for alias in aliases))
        if not any(self._read_path(index, path) for path in paths if path):
            self._read_type(index, name_path, kind)

    def finish(self) -> Plan:
        """Settles which meaning of a phrase counts, and whose the doubtful fields are."""
        votes: Counter[str] = Counter()
        for _, _, match in self.matches:
            if len(match.meanings) == 1 and match.field:
                votes.update(match.meanings[0].languages)
        for index, owner, match in self.matches:
            meaning = max(
                match.meanings,
                key=lambda one: max((votes[code] for code in one.languages), default=0),
            )
            if meaning.field:
                gives_way = meaning.gives_way or (meaning.field == "message" and match.is_question)
                rank = match.rank + (Rank.GIVES_WAY if gives_way else 0)
                self._add(index, meaning.field, rank, owner, match.why, match.phrase)
            elif match.phrase not in self.vocabulary.either:
                self.unrelated.add(index)
        self._settle_doubtful()
        self._take_user_name()
        order = sorted(self.candidates, key=lambda one: (one.rank, one.index))
        return Plan(
            tuple(order), tuple(self.owners), tuple(sorted(self.unowned)), frozenset(self.unrelated)
        )

    def _settle_doubtful(self) -> None:
        """Keeps `user_email` and `site_email` from a lead that has fields of its own.

        A user's are the lead's unless the payload asks somebody else for the same; a site's and a
        friend's only if it asks nobody else.
        """
        owners = list(self.owners)
        of_person = {
            _group_of(one.target)
            for one in self.candidates
            if one.owner is not None
            and one.target in PERSONAL
            and owners[one.owner].kind <= Ownership.PERSON
        }
        of_user = {_group_of(match.field) for _, _, match in self.of_user if match.field}
        for owner, targets in self.doubtful.items():
            if owner.kind is Ownership.AMBIGUOUS:
                of_user.update(targets.values())
        is_another = not of_person.isdisjoint(of_user)
        for owner, targets in self.doubtful.items():
            if is_another if owner.kind is Ownership.AMBIGUOUS else of_person:
                self.unowned -= targets.keys()
        for index, owner, match in self.of_user:
            if is_another:
                self.unowned.discard(index)
                owner = Owner(Ownership.AMBIGUOUS, "user", owner.is_object)
            self._add(index, match.field or "", match.rank, owner, match.why, match.phrase)

    def _take_user_name(self) -> None:
        """`user_name` is a name where nothing else is one, and a login anywhere else."""
        if len(self.matches) < 2 or any(one.target in NAMES for one in self.candidates):
            return
        for index, _, match in self.matches:
            if match.words == ("user", "name") and not match.is_question:
                owner = Owner(Ownership.SELF)
                self._add(index, "name", Rank.MENTIONED, owner, match.why, match.phrase)

    def _add(
        self, index: int, target: str, rank: int, owner: Owner, why: str, phrase: str = ""
    ) -> None:
        if target == "name" and owner.kind is Ownership.COMPANY and self._is_plain_name(phrase):
            target = _COMPANY
        if not is_eligible(target, owner) or (target == _AMOUNT and _is_another_amount(owner)):
            self.refused.append((index, target, owner))
            return
        if self.counts[target] >= MAX_CANDIDATES:
            return
        self.counts[target] += 1
        is_owned = target in PERSONAL or target in AROUND_PERSON
        at = self.owners.setdefault(owner, len(self.owners)) if is_owned else None
        self.candidates.append(Candidate(index, target, rank, at, why, phrase))

    def _is_plain_name(self, phrase: str) -> bool:
        """Whether a phrase is `name` alone: a `contact name` is a person's even in a company."""
        words = self.vocabulary
        return phrase in words.given_beside_family or phrase in words.family_beside_given

    def _read_path(self, index: int, path: tuple[str, ...]) -> bool:
        """Reads the last keys of a path as one name, or else the last one; whether it is known."""
        steps = self._drop_value_steps(self._split_steps(path))
        if not steps:
            return False
        if self._read_joined_steps(index, steps):
            return True
        *around, last = steps
        phrase = to_phrase(last)
        if target := self.labels.get(phrase):
            self._add(index, target, Rank.SOURCE, self.owner_finder.find(around), "read.labels")
            return True
        if phrase in self.conventions:
            self._follow_convention(index, around, last)
            return True
        matches = list(self.label_reader.read(last))
        if any(map(str.isdigit, around)):
            # Of a list of messages some are the receiver's.
            matches = [match for match in matches if match.field != "message"]
        for match in matches:
            owner = self.owner_finder.find(around, match.prefix)
            is_users = not match.prefix and self._is_of_user(split_words(last), match.field)
            (self.of_user if is_users else self.matches).append((index, owner, match))
        self._note_unowned(index, around, last, {match.field for match in matches})
        return bool(matches)

    def _split_steps(self, path: Iterable[str]) -> list[str]:
        """The steps of a path; `contact[email]` is two, `interests[]` one.

        A number in brackets is a question's id (`wpforms[fields][3]`), unless it counts people.
        """
        steps: list[str] = []
        for step in path:
            if "[" not in step or not step.endswith("]"):
                steps += [step] if step else []
                continue
            for part in step.replace("]", "").split("["):
                is_id = part.isdigit() and not (
                    steps and self.vocabulary.person.intersection(split_words(steps[-1]))
                )
                if part:
                    steps.append(f"#{part}" if is_id else part)
        return steps

    def _drop_value_steps(self, steps: list[str]) -> list[str]:
        """The steps without those at the end that lead from a field to its value."""
        words = self.vocabulary
        while len(steps) > 1 and (to_phrase(steps[-1]) in _VALUE_STEPS or steps[-1][0] == "#"):
            before = split_words(steps[-2])
            is_name = "".join(before) in words.meanings
            if not is_name and all(
                word in words.wrapper or word in words.person for word in before
            ):
                break
            steps = steps[:-1]
        return steps

    def _read_joined_steps(self, index: int, steps: list[str]) -> bool:
        """`utm.source` and `company.name` as one name; whether it is known."""
        for length in range(min(MAX_JOINED_STEPS, len(steps)), 1, -1):
            around, joined = steps[:-length], steps[-length:]
            words = [word for step in joined for word in split_words(step)]
            phrase = "".join(words)
            if target := self.labels.get(phrase):
                self._add(index, target, Rank.SOURCE, self.owner_finder.find(around), "read.labels")
                return True
            meanings = self.vocabulary.meanings.get(phrase)
            if not meanings or not (field := meanings[0].field):
                continue
            # `user.email` is the user's e-mail, whereas `company.name` is no person's name.
            is_owned = to_phrase(joined[-1]) in self.vocabulary.meanings
            if is_owned and field != _COMPANY and field in PERSONAL | AROUND_PERSON:
                continue
            holder = self.owner_finder.find(steps[:-1])
            if field == _COMPANY and holder.kind > Ownership.AMBIGUOUS:
                continue
            if field == "website" and tuple(steps[:-1]) in self.holders:
                # The site that the form is on.
                self.refused.append((index, field, Owner(Ownership.OTHER, joined[0], True)))
                return True
            match = Match(
                meanings,
                Rank.EXACT,
                tuple(words),
                f'"{".".join(joined)}"',
                is_question=sum(step.count(" ") for step in joined) >= MIN_QUESTION_SPACES,
            )
            self.matches.append((index, self.owner_finder.find(around), match))
            return True
        return False

    def _follow_convention(self, index: int, around: list[str], last: str) -> None:
        """Takes a name as the convention of the payload's names has it; some mean nothing."""
        words = split_words(last)
        if target := self.conventions["".join(words)]:
            match = Match(
                (Meaning(target, frozenset()),),
                Rank.SOURCE,
                words,
                "a naming convention",
                is_question=True,
            )
            is_users = self.owner_finder.find((), words).kind is Ownership.AMBIGUOUS
            (self.of_user if is_users else self.matches).append(
                (index, self.owner_finder.find(around), match)
            )

    def _is_of_user(self, words: tuple[str, ...], field: str | None) -> bool:
        """Whether a known phrase belongs to somebody who may not be the lead: `user_email`."""
        if len(words) < 2 or words[0] not in self.vocabulary.ambiguous or field not in PERSONAL:
            return False
        inner = self.vocabulary.meanings.get("".join(self.phrases.trim(words)[1:]), ())
        return bool(inner) and inner[0].field == field

    def _note_unowned(
        self, index: int, around: list[str], last: str, fields: set[str | None]
    ) -> None:
        """Notes a field that may be an e-mail or a phone by its value, and whose that may be."""
        words = split_words(last)
        owner = self.owner_finder.find((), words)
        holder = self.owner_finder.find(around).kind
        is_somebodys = holder >= Ownership.AMBIGUOUS or holder is Ownership.COMPANY
        if is_somebodys or owner.kind is Ownership.OTHER:
            return
        self.unowned.add(index)
        if not self.vocabulary.number.isdisjoint(words):
            self.unrelated.add(index)
        is_email = "email" in fields or not self.vocabulary.asks_email.isdisjoint(words)
        is_phone = "phone" in fields or not self.vocabulary.asks_phone.isdisjoint(words)
        if owner.kind > Ownership.UNKNOWN and (is_email or is_phone):
            self.doubtful.setdefault(owner, {})[index] = "email" if is_email else "phone"

    def _read_type(self, index: int, path: tuple[str, ...], kind: str | None) -> None:
        """What the product says a question is for, where its name says nothing."""
        target = _FIELD_BY_TYPE.get(kind or "")
        if not target or not path:
            return
        owner = self.owner_finder.find(self._split_steps(path[:-1]), split_words(path[-1]))
        if owner.kind is not Ownership.OTHER:
            self._add(index, target, Rank.TYPE, Owner(Ownership.SELF), f"its type, {kind}")


def _is_another_amount(owner: Owner) -> bool:
    """Whether a value is not the lead's own: an `average deal size`, a `company estimated revenue`.

    A currency is no owner: `deal_value_usd`.
    """
    if owner.kind is Ownership.COMPANY:
        return True
    is_changed = owner.kind is Ownership.UNKNOWN and not owner.is_object
    return is_changed and not currency_code(owner.name)


def _group_of(target: str) -> str:
    """One name for all fields of a person's name."""
    return "name" if target in NAMES else target
