"""What the names of a payload's fields ask for, worked out once for each shape of payload.

A `Plan` depends on names alone: which canonical fields each of them may ask for, how plainly, and
whose. `assignment` then looks at the values. The same names in the same order are the same form.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import accumulate, pairwise

from msgspec import Struct

from service.sources.fields.effort import Effort
from service.sources.languages.vocabulary import Meaning, Vocabulary, is_unspaced, vocabulary
from service.sources.languages.words import (
    MAX_LABEL_CHARS,
    split_languages,
    split_words,
    to_phrase,
)
from service.sources.payload.event import PayloadField
from worker.lead.templates import CLICK_IDS

# Fields of one event whose names are read; no real form has more, and the rest are answers.
MAX_NAMED_FIELDS = 300
# Characters of all names of an event that are read.
MAX_NAME_CHARS = 12_000
# Words of a phrase that is looked for at the beginning and the end of a name.
MAX_PHRASE_WORDS = 8
# Characters of a phrase in a script without spaces.
MAX_UNSPACED_CHARS = 40
# Shapes that are remembered, and the characters of the names of each.
MAX_PLANS = 256
MAX_PLAN_CHARS = 16_000

# Words of a label that may speak of an e-mail or a phone without being a name for it.
MIN_QUESTION_WORDS = 3

# Fields of one event that may be the same one of the lead.
MAX_CANDIDATES = 40

# What belongs to one person, and must never be completed from another one's data.
PERSONAL = frozenset({"email", "phone", "name", "first_name", "last_name", "job_title"})
NAMES = frozenset({"name", "first_name", "last_name"})
CONTACT = frozenset({"email", "phone"})
# What describes the person's firm or place; an object of the firm's is as good as the person's.
AROUND_PERSON = frozenset({"company", "website", "country"})
TRACKING_PREFIXES = ("utm_", "click_ids.")
# What is said of the page and the form alone, and only by names without an owner.
ABOUT_FORM = frozenset({"page_url", "referrer", "form_id", "form_name", "occurred_at", "event_id"})
# Numbers that count people: `guest 2 email` is not the first guest's.
_FURTHER = frozenset("23456789")
_LAST_STEPS = frozenset({"value", "values", "raw", "rawvalue", "text", "answer", "0"})


class Ownership(IntEnum):
    """Whose a field is: the nearer to the person who fills in, the lower."""

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
    """Whose object, or whose prefix, a field stands in; `name` is empty for nobody's in particular.

    `is_object`: an object of the payload rather than a prefix of a name.
    """

    kind: Ownership
    name: str = ""
    is_object: bool = False


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
    VALUE = 9


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


def make_plan(
    fields: Sequence[PayloadField], labels: dict[str, str], effort: Effort | None = None
) -> Plan:
    """The plan of an event; `labels` are the source file's own names, by their phrase.

    Where the request has used up its `effort` for names, none of them asks for anything.
    """
    shape = shape_of(fields)
    key = (shape, tuple(labels.items())) if labels else shape
    plan = _plans.get(key)
    if plan is None:
        if effort and not effort.take_names(len(shape)):
            return Plan((), (), tuple(range(len(shape))), frozenset())
        plan = _build_plan(shape, labels)
        if sum(map(_size, shape)) <= MAX_PLAN_CHARS:
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
    """Empties the memory of shapes, for measurements of the first of each."""
    _plans.clear()


def _size(name: FieldName) -> int:
    return sum(map(len, name[0])) + sum(map(len, name[1]))


def match_label(label: str) -> str | None:
    """The canonical field that a label by itself asks for, if any."""
    return match_path((label,))


def match_path(path: tuple[str, ...]) -> str | None:
    """The canonical field that the keys which lead to a value ask for, if any."""
    plan = _build_plan(((path, (), None, None),), {})
    return next(
        (
            one.target
            for one in plan.candidates
            if one.owner is None or plan.owners[one.owner].kind < Ownership.UNKNOWN
        ),
        None,
    )


class _Match(Struct):
    """One reading of a name: what the phrase may mean, and the words before it."""

    meanings: tuple[Meaning, ...]
    rank: int
    prefix: tuple[str, ...]
    phrase: str
    why: str


def _build_plan(shape: tuple[FieldName, ...], labels: dict[str, str]) -> Plan:
    return read_names(shape, labels).finish()


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
    reader = NameReader(words, labels, conventions)
    for index, name in enumerate(shape):
        reader.read(index, name)
    return reader


class NameReader:
    """Reads the names of one payload, and lets them decide together what language they are in."""

    def __init__(
        self, words: Vocabulary, labels: dict[str, str], conventions: dict[str, str]
    ) -> None:
        self.words = words
        self.labels = labels
        self.conventions = conventions
        self.matches: list[tuple[int, Owner, _Match]] = []
        self.candidates: list[Candidate] = []
        self.counts: Counter[str] = Counter()
        self.owners: dict[Owner, int] = {}
        self.unowned: set[int] = set()
        self.unrelated: set[int] = set()
        # Fields that are the person's or another user's, and by owner all e-mails and phones that
        # may be somebody else's.
        self.of_user: list[tuple[int, Owner, _Match]] = []
        self.doubtful: dict[Owner, dict[int, str]] = {}
        # What names ask for whose owner cannot be the lead's person: index, field and owner.
        self.refused: list[tuple[int, str, Owner]] = []

    def read(self, index: int, name: FieldName) -> None:
        """Collects what one name may ask for."""
        name_path, aliases, lead_field, kind = name
        if lead_field:
            # The type of a question says what its answer is, and only its label whose.
            owner = self._owner((), split_words(name_path[-1])) if name_path else None
            if owner is None or owner.kind not in (Ownership.PERSON, Ownership.GUARDIAN):
                owner = Owner(Ownership.SELF)
            self._add(index, lead_field, Rank.PRODUCT, owner, "the product says so")
            return
        paths = (name_path, *((alias,) for alias in aliases))
        if not any(self._read_path(index, path) for path in paths if path):
            self._read_type(index, name_path, kind)

    def finish(self) -> Plan:
        """Settles what phrases mean that mean different things in different languages."""
        votes: Counter[str] = Counter()
        for _, _, match in self.matches:
            if len(match.meanings) == 1 and match.meanings[0].field:
                votes.update(match.meanings[0].languages)
        for index, owner, match in self.matches:
            meaning = max(
                match.meanings,
                key=lambda one: max((votes[code] for code in one.languages), default=0),
            )
            if meaning.field:
                gives_way = meaning.gives_way or (
                    meaning.field == "message" and match.why.count(" ") >= MIN_QUESTION_WORDS
                )
                rank = match.rank + (Rank.GIVES_WAY if gives_way else 0)
                self._add(index, meaning.field, rank, owner, match.why, match.phrase)
            elif match.phrase not in self.words.either:
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
        friend's only where it asks for nobody else.
        """
        owners = list(self.owners)
        classes = {
            _class_of(one.target)
            for one in self.candidates
            if one.owner is not None
            and one.target in PERSONAL
            and owners[one.owner].kind <= Ownership.PERSON
        }
        of_user = [match for _, _, match in self.of_user if match.meanings[0].field]
        asked_of_user = {_class_of(match.meanings[0].field or "") for match in of_user}
        for owner, targets in self.doubtful.items():
            if owner.kind is Ownership.AMBIGUOUS:
                asked_of_user.update(map(_class_of, targets.values()))
        is_another = not classes.isdisjoint(asked_of_user)
        for owner, targets in self.doubtful.items():
            if is_another if owner.kind is Ownership.AMBIGUOUS else classes:
                self.unowned -= targets.keys()
        for index, owner, match in self.of_user:
            if is_another:
                self.unowned.discard(index)
                owner = Owner(Ownership.AMBIGUOUS, "user", owner.is_object)
            target = match.meanings[0].field or ""
            self._add(index, target, match.rank, owner, match.why, match.phrase)

    def _take_user_name(self) -> None:
        """`user_name` is a name where nothing else is one, and a login anywhere else."""
        if len(self.matches) < 2 or any(one.target in NAMES for one in self.candidates):
            return
        for index, _, match in self.matches:
            if match.why == '"user name"':
                owner = Owner(Ownership.SELF)
                self._add(index, "name", Rank.MENTIONED, owner, match.why, match.phrase)

    def _add(
        self, index: int, target: str, rank: int, owner: Owner, why: str, phrase: str = ""
    ) -> None:
        if target == "name" and owner.kind is Ownership.COMPANY and self._is_plain_name(phrase):
            target = "company"
        if not is_eligible(target, owner):
            self.refused.append((index, target, owner))
            return
        if self.counts[target] >= MAX_CANDIDATES:
            return
        self.counts[target] += 1
        is_owned = target in PERSONAL or target in AROUND_PERSON
        at = self.owners.setdefault(owner, len(self.owners)) if is_owned else None
        self.candidates.append(Candidate(index, target, rank, at, why, phrase))

    def _is_plain_name(self, phrase: str) -> bool:
        """Whether a phrase says `name` alone, where `contact name` is a person's even in a firm."""
        return phrase in self.words.given_beside_family or phrase in self.words.family_beside_given

    def _read_path(self, index: int, path: tuple[str, ...]) -> bool:
        """Reads the last key of a path, or its last two or three as one; whether it says anything.

        `utm.source` and `company.name` are one name.
        """
        steps = self._split_steps(path)
        while len(steps) > 1 and (to_phrase(steps[-1]) in _LAST_STEPS or steps[-1][0] == "#"):
            before = split_words(steps[-2])
            is_name = "".join(before) in self.words.meanings
            if not is_name and all(
                word in self.words.wrapper or word in self.words.person for word in before
            ):
                break
            steps.pop()
        if not steps:
            return False
        last = steps[-1]
        for length in range(min(3, len(steps)), 1, -1):
            outside, words = steps[:-length], [split_words(step) for step in steps[-length:]]
            phrase = "".join(word for step in words for word in step)
            if target := self.labels.get(phrase):
                self._add(index, target, Rank.SOURCE, self._owner(outside, ()), "read.labels")
                return True
            meanings = self.words.meanings.get(phrase, ())
            # `user.email` is the user's e-mail, where `company.name` is no one's name.
            is_owned = "".join(words[-1]) in self.words.meanings
            holder = self._owner(steps[:-1], ()).kind
            if (
                meanings
                and meanings[0].field
                and not (is_owned and meanings[0].field in PERSONAL | AROUND_PERSON - {"company"})
                and not (meanings[0].field == "company" and holder >= Ownership.AMBIGUOUS)
            ):
                owner = self._owner(outside, ())
                match = _Match(meanings, Rank.EXACT, (), phrase, f'"{".".join(steps[-length:])}"')
                self.matches.append((index, owner, match))
                return True
        around = steps[:-1]
        phrase = to_phrase(last)
        if target := self.labels.get(phrase):
            self._add(index, target, Rank.SOURCE, self._owner(around, ()), "read.labels")
            return True
        target = self.conventions.get(phrase)
        if target == "":
            return True
        if target:
            meaning = Meaning(target, frozenset())
            match = _Match((meaning,), Rank.SOURCE, (), phrase, "a convention of names")
            is_users = self._owner((), split_words(last)).kind is Ownership.AMBIGUOUS
            (self.of_user if is_users else self.matches).append(
                (index, self._owner(around, ()), match)
            )
            return True
        matches = list(self._read_label(last))
        for match in matches:
            owner = self._owner(around, match.prefix)
            field = match.meanings[0].field
            is_users = not match.prefix and self._is_of_user(split_words(last), field)
            (self.of_user if is_users else self.matches).append((index, owner, match))
        names = split_words(last)
        owner = self._owner((), names)
        if self._owner(around, ()).kind < Ownership.AMBIGUOUS and (
            owner.kind is not Ownership.OTHER
        ):
            self.unowned.add(index)
            if not self.words.number.isdisjoint(names):
                self.unrelated.add(index)
            fields = {match.meanings[0].field for match in matches}
            is_email = "email" in fields or not self.words.asks_email.isdisjoint(names)
            is_phone = "phone" in fields or not self.words.asks_phone.isdisjoint(names)
            if owner.kind > Ownership.UNKNOWN and (is_email or is_phone):
                target = "email" if is_email else "phone"
                self.doubtful.setdefault(owner, {})[index] = target
        return bool(matches)

    def _read_type(self, index: int, path: tuple[str, ...], kind: str | None) -> None:
        """What the product says a question is for, where its name says nothing."""
        target = {"email": "email", "tel": "phone", "phone": "phone"}.get(kind or "")
        if not target or not path:
            return
        owner = self._owner(self._split_steps(path[:-1]), split_words(path[-1]))
        if owner.kind is not Ownership.OTHER:
            self._add(index, target, Rank.TYPE, Owner(Ownership.SELF), f"its type, {kind}")

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
                    steps and self.words.person.intersection(split_words(steps[-1]))
                )
                if part:
                    steps.append(f"#{part}" if is_id else part)
        return steps

    # A label.

    def _read_label(self, label: str) -> Iterator[_Match]:
        """What a label may ask for: as a whole, in each of its languages, or by its end."""
        if label in CLICK_IDS:
            meaning = Meaning(f"click_ids.{label}", frozenset())
            yield _Match((meaning,), Rank.EXACT, (), label, f'"{label}"')
            return
        words = self._split_unspaced(split_words(label))
        if self._names_a_person(words):
            meaning = Meaning("name", frozenset())
            yield _Match((meaning,), Rank.MENTIONED, words, "", "it names the person")
            return
        if len(label) <= MAX_LABEL_CHARS:
            if match := self._match_whole(words):
                yield match
                return
            parts = split_languages(label)
            if len(parts) > 1 and (matches := list(self._read_languages(parts))):
                yield from matches
                return
            if match := self._match_end(words) or self._match_beginning(words):
                yield match
                return
        openings = self.words.consent_openings
        if "".join(words).startswith(openings) or "".join(self._trim(words)).startswith(openings):
            meaning = Meaning("consent", frozenset())
            yield _Match((meaning,), Rank.MENTIONED, (), "", "how the sentence begins")
        elif len(label) <= MAX_LABEL_CHARS:
            yield from self._mentions(words)

    def _names_a_person(self, words: tuple[str, ...]) -> bool:
        """`cliente`, `encarregado de educação`: a label that is nothing but somebody."""
        vocabulary_words = self.words
        return (
            0 < len(words) <= 3
            and (
                words[0] in vocabulary_words.guardian
                or (words[0] in vocabulary_words.person and len(words) == 1)
            )
            and "".join(words) not in vocabulary_words.meanings
            and not any(word in vocabulary_words.meanings for word in words[1:])
            and vocabulary_words.owners.isdisjoint(words[1:])
            and vocabulary_words.unrelated.isdisjoint(words)
            and vocabulary_words.record.isdisjoint(words)
        )

    def _read_languages(self, parts: list[str]) -> Iterator[_Match]:
        """`Nachname / Last name`: where the parts disagree, an e-mail and a phone are both kept."""
        part_matches = [
            (part, match)
            for part in parts
            if (words := split_words(part))
            and (match := self._match_whole(words) or self._match_end(words))
        ]
        matched = {part for part, _ in part_matches}
        whose = self._whose([part for part in parts if part not in matched]) if part_matches else ()
        part_fields: set[str | None] = set()
        for part, match in part_matches:
            field = match.meanings[0].field
            match.prefix = match.prefix or whose
            is_new = field not in part_fields and (
                not part_fields or part_fields | {field} <= {"email", "phone"}
            )
            if is_new:
                part_fields.add(field)
                match.rank = max(match.rank, Rank.ONE_OF_LANGUAGES if len(part_matches) > 1 else 0)
                match.why = f'"{part.strip()}" in its label'
                yield match

    def _whose(self, parts: list[str]) -> tuple[str, ...]:
        """Somebody else, of whom a part of a label says that the rest is: `Friend: e-mail`."""
        for part in parts:
            words = split_words(part)
            if 0 < len(words) <= MIN_QUESTION_WORDS and self._owner((), words).kind in (
                Ownership.GUARDIAN,
                Ownership.RELATIVE,
                Ownership.OTHER,
            ):
                return words
        return ()

    def _match_whole(self, words: tuple[str, ...]) -> _Match | None:
        phrase = "".join(words)
        meanings = self.words.meanings
        if phrase in meanings:
            prefix = self._person_before(words, meanings[phrase])
            return _Match(meanings[phrase], Rank.EXACT, prefix, phrase, f'"{" ".join(words)}"')
        core = self._trim(words)
        phrase = "".join(core)
        if phrase in meanings:
            prefix = self._person_before(core, meanings[phrase])
            return _Match(meanings[phrase], Rank.TRIMMED, prefix, phrase, f'"{" ".join(core)}"')
        return None

    def _person_before(
        self, words: tuple[str, ...], meanings: tuple[Meaning, ...]
    ) -> tuple[str, ...]:
        """Whose a known phrase is, as the contact's in `contact phone`."""
        if len(words) < 2 or words[0] not in self.words.person:
            return ()
        inner = self.words.meanings.get("".join(words[1:]))
        return words[:1] if inner and inner[0].field == meanings[0].field else ()

    def _is_of_user(self, words: tuple[str, ...], field: str | None) -> bool:
        """Whether a known phrase is what somebody has who may not be the lead: `user_email`."""
        if len(words) < 2 or words[0] not in self.words.ambiguous or field not in PERSONAL:
            return False
        inner = self.words.meanings.get("".join(self._trim(words)[1:]), ())
        return bool(inner) and inner[0].field == field

    def _trim(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """The words without those at both ends that say nothing, and without numbers."""
        neutral, closing = self.words.neutral, self.words.closing
        first, last = 0, len(words)
        while first < last and (words[first] in neutral or _is_mark(words[first])):
            first += 1
        while last > first and (words[last - 1] in closing or _is_mark(words[last - 1])):
            last -= 1
        core = words[first:last]
        return (self._trim_unspaced(core[0]),) if len(core) == 1 else core

    def _trim_unspaced(self, word: str) -> str:
        """A word of Japanese or Chinese without the affixes that say nothing, such as 您的."""
        if not is_unspaced(word) or len(word) > MAX_UNSPACED_CHARS:
            return word
        for _ in range(3):
            if word in self.words.meanings:
                break
            for affix in self.words.affixes:
                if len(affix) < len(word) and word.startswith(affix):
                    word = word[len(affix) :]
                    break
                if len(affix) < len(word) and word.endswith(affix):
                    word = word[: -len(affix)]
                    break
        return word

    def _split_unspaced(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Whose a field is as a word of its own, in scripts without spaces: 家长姓名."""
        word = words[0] if len(words) == 1 else ""
        is_long = len(word) > MAX_UNSPACED_CHARS
        if not word or is_long or word in self.words.meanings or not is_unspaced(word):
            return words
        for end in range(len(word) - 1, 0, -1):
            if word[end:] in self.words.meanings and (
                self._owner_kind(word[:end], is_object=False) is not Ownership.UNKNOWN
            ):
                return word[:end], word[end:]
        return words

    def _match_end(self, words: tuple[str, ...]) -> _Match | None:
        """The longest end of a name that is a phrase, with whose prefix stands before it."""
        core = words
        while core and (core[-1] in self.words.closing or _is_mark(core[-1])):
            core = core[:-1]
        for start in range(max(1, len(core) - MAX_PHRASE_WORDS), len(core)):
            phrase = "".join(core[start:])
            meanings = self.words.meanings.get(phrase)
            if meanings is None:
                continue
            prefix = core[:start]
            if self.words.unrelated.intersection(prefix):
                return None
            why = f'"{" ".join(core[start:])}" after "{" ".join(prefix)}"'
            return _Match(meanings, Rank.PREFIXED, prefix, phrase, why)
        return None

    def _match_beginning(self, words: tuple[str, ...]) -> _Match | None:
        """`telefon_kontakt`: a phrase with whose it is after it."""
        vocabulary_words = self.words
        for end in range(min(len(words) - 1, MAX_PHRASE_WORDS), 0, -1):
            tail = words[end:]
            if vocabulary_words.owners.isdisjoint(tail):
                is_suffix = len(tail) == 1 and len(tail[0]) <= 4 and end <= 2
                if not is_suffix or tail[0] in vocabulary_words.unrelated:
                    return None
            phrase = "".join(words[:end])
            if meanings := vocabulary_words.meanings.get(phrase):
                why = f'"{" ".join(words[:end])}" before "{" ".join(tail)}"'
                return _Match(meanings, Rank.PREFIXED, tail, phrase, why)
        return None

    def _mentions(self, words: tuple[str, ...]) -> Iterator[_Match]:
        """A longer question for an e-mail or a phone, which its value must then be."""
        vocabulary_words = self.words
        if self._speaks_of_consent(words):
            meaning = Meaning("consent", frozenset())
            yield _Match((meaning,), Rank.MENTIONED, (), "", "its label speaks of a consent")
            return
        mentioned = {*words, *(first + second for first, second in pairwise(words))}
        if len(words) < MIN_QUESTION_WORDS or not vocabulary_words.strange.isdisjoint(mentioned):
            return
        if not vocabulary_words.asks_email.isdisjoint(mentioned):
            meaning = Meaning("email", frozenset())
            yield _Match((meaning,), Rank.MENTIONED, (), "", "its label speaks of an e-mail")
        elif not vocabulary_words.asks_message.isdisjoint(words):
            meaning = Meaning("message", frozenset())
            yield _Match((meaning,), Rank.MENTIONED, (), "", "its label speaks of a message")
        elif not vocabulary_words.asks_phone.isdisjoint(mentioned):
            meaning = Meaning("phone", frozenset())
            yield _Match((meaning,), Rank.MENTIONED, (), "", "its label speaks of a phone")

    def _speaks_of_consent(self, words: tuple[str, ...]) -> bool:
        return not self.words.asks_consent.isdisjoint(words) or any(
            word in whole
            for whole in words
            if is_unspaced(whole)
            for word in self.words.asks_consent_unspaced
        )

    # An owner.

    def _owner(self, around: Sequence[str], prefix: Iterable[str]) -> Owner:
        """Whose the field is, by the objects around it and the words before its name."""
        kind, name, is_object = Ownership.SELF, "", False
        is_ambiguous = False
        groups = [(split_words(step), step) for step in around]
        for words, step in (*groups, (tuple(prefix), "")):
            if step.isdigit() and step != "0":
                return Owner(Ownership.OTHER, name, is_object=True)
            if step and (whole := self._container(words)):
                if whole == "name" and kind is Ownership.SELF:
                    kind, name, is_object = Ownership.PERSON, "".join(words), True
                continue
            if words == ("to",):
                return Owner(Ownership.OTHER, "to", is_object=True)
            for before, word in zip(("", *words), words, strict=False):
                of_word = self._owner_kind(word, is_object=bool(step))
                if word in _FURTHER and before in self.words.person and not step:
                    of_word = Ownership.RELATIVE
                if of_word is None:
                    continue
                if of_word is Ownership.OTHER:
                    return Owner(Ownership.OTHER, word, is_object=bool(step))
                if of_word is Ownership.AMBIGUOUS and (
                    kind is Ownership.PERSON and word in self.words.company
                ):
                    # A lead's account is its firm, where an account may be the receiver's.
                    of_word = Ownership.COMPANY
                if of_word is Ownership.AMBIGUOUS:
                    is_ambiguous, name, is_object = True, word, bool(step) or is_object
                elif of_word is Ownership.UNKNOWN and kind is not Ownership.SELF:
                    # A strange word changes nothing of whose the object is that it stands in.
                    name += word if kind is Ownership.UNKNOWN else ""
                else:
                    kind, name, is_object = of_word, word, bool(step)
        if is_ambiguous and kind in (Ownership.SELF, Ownership.PERSON, Ownership.UNKNOWN):
            kind = Ownership.AMBIGUOUS
        return Owner(kind, name, is_object)

    def _owner_kind(self, word: str, *, is_object: bool) -> Ownership | None:
        """Whose a word says that a field is; None if it says nothing of it."""
        vocabulary_words = self.words
        if word in vocabulary_words.other_person or word in vocabulary_words.repeat:
            return Ownership.OTHER
        if word in vocabulary_words.relative:
            return Ownership.RELATIVE
        if word in vocabulary_words.owner:
            # A form's owner is of the pet or the house; a payload's is of the record.
            return Ownership.OTHER if is_object else Ownership.RELATIVE
        if word in vocabulary_words.ambiguous:
            return Ownership.AMBIGUOUS
        if word in vocabulary_words.guardian:
            return Ownership.GUARDIAN
        if word in vocabulary_words.person:
            return Ownership.PERSON
        if is_object and word in vocabulary_words.wrapper:
            return None
        if word in vocabulary_words.company:
            return Ownership.COMPANY
        if word in vocabulary_words.record:
            return Ownership.UNKNOWN
        if word in vocabulary_words.thing:
            return Ownership.THING
        is_silent = (
            word in vocabulary_words.neutral
            or word in vocabulary_words.closing
            or word in vocabulary_words.wrapper
        )
        return None if is_silent or _is_mark(word) else Ownership.UNKNOWN

    def _container(self, words: tuple[str, ...]) -> str | None:
        """The field that an object is, in parts: `yourName.firstName`, `email.value`."""
        is_phrase = "".join(words) in self.words.meanings
        if not is_phrase and any(self._owner_kind(word, is_object=True) for word in words[:-1]):
            return None
        match = self._match_whole(words)
        field = match.meanings[0].field if match else None
        return field if field in ("name", "email", "phone") else None


def _class_of(target: str) -> str:
    return "name" if target in NAMES else target


def is_eligible(target: str, owner: Owner) -> bool:
    """Whether a field that `owner` owns may be this canonical one at all."""
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
        return target == "consent" or (target in ("email", "phone") and not owner.is_object)
    return True


def _is_mark(word: str) -> bool:
    """Whether a word is a number or a single letter, such as the parts of `q11_` and `g12-`."""
    return word.isdigit() or (len(word) == 1 and word.isascii())
