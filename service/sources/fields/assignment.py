"""Chooses, from a plan and the values, which fields of a payload become which of the lead.

One assignment is made for the whole payload. E-mail, phone and names of a lead come from one owner:
a person is never completed from somebody else's object. What is in doubt stays an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from service.sources.fields.countries import is_country
from service.sources.fields.effort import Effort
from service.sources.fields.emails import parse_address
from service.sources.fields.owners import CONTACT, NAMES, PERSONAL, Owner, Ownership
from service.sources.fields.phones import (
    is_plain_number,
    is_same_number,
    looks_like_phone,
    parse_dial_code,
    parse_phone,
)
from service.sources.fields.phrases import Rank
from service.sources.fields.recognition import Candidate, Plan, match_path
from service.sources.fields.values import parse_value
from service.sources.languages.vocabulary import vocabulary
from service.sources.payload.event import PayloadField
from service.sources.payload.tree import Tree, text_of

# What each part of a person counts when several owners have one.
WEIGHTS = {"email": 4, "phone": 3, "name": 3, "first_name": 2, "last_name": 2, "job_title": 1}
# Words of a message that a choice in a list could not have.
MIN_MESSAGE_WORDS = 3
MAX_CHOICE_CHARS = 30
CHOICE_KINDS = frozenset(
    (
        "select", "radio", "checkbox", "dropdown", "multiple_choice", "multiplechoice", "choice",
        "checkboxes", "multiselect", "rating", "scale", "number", "date", "time", "hidden", "file",
        "upload", "fileupload",
    )
)  # fmt: skip


# An address or a link alone is no message.
_ONE_TOKEN = re.compile(r"\S+@\S+|https?://\S+|[+0-9 ()-]{7,20}")
# A part of a phone number, too short to be one.
_PART = re.compile(r"\+?[0-9]{1,4}")
PERSON_ORDER = ("email", "phone", "first_name", "last_name", "name", "job_title")
# Fields of the lead whose names are so common that the value must fit as well.
_DOUBTED = frozenset({"consent", "message", "company", "phone", *NAMES})
# A given and a family name, each with a capital letter where there are such; or a few characters
# of Chinese, Japanese or Korean.
_FULL_NAME = re.compile(
    r"[^\W\d_a-z][\w'’.-]*(?: [^\W\d_a-z][\w'’.-]*){1,3}"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{2,6}"
)


class Choice(Struct, frozen=True):
    """A value that a field of the lead has got, and why; `index` is that of the payload's field.

    `is_whole`: nothing of the payload's value is left over that should stay an answer.
    """

    index: int
    target: str
    value: object
    why: str
    phrase: str = ""
    is_whole: bool = True


class Assignment(Struct):
    """The `choices` by canonical field, and the labels of fields whose values were unusable.

    `repeated` are the indexes of fields that say the same as a chosen one.
    """

    choices: dict[str, Choice]
    rejected: dict[str, str]
    repeated: frozenset[int]


def assign(
    plan: Plan,
    fields: Sequence[PayloadField],
    taken: dict[str, object],
    used: set[int],
    effort: Effort,
) -> Assignment:
    """The choices for a payload; `taken` fields of the lead are filled already, from `used`."""
    return _Assigner(fields, taken, used, effort).assign(plan)


class _Assigner:
    def __init__(
        self,
        fields: Sequence[PayloadField],
        taken: dict[str, object],
        used: set[int],
        effort: Effort,
    ) -> None:
        self.fields = fields
        self.taken = taken
        self.used = set(used)
        self.effort = effort
        self.choices: dict[str, Choice] = {}
        self.rejected: dict[str, str] = {}
        # Whose fields the person's were taken from.
        self.person: Owner | None = None
        # Fields of other people, who have names of their own.
        self.strangers: set[int] = set()
        # Fields that say the same as another one, by the index of that one.
        self.repeated: dict[int, set[int]] = {}

    def assign(self, plan: Plan) -> Assignment:
        personal: dict[int, dict[str, Choice]] = {}
        elsewhere: list[tuple[Candidate, Choice]] = []
        parts: dict[int, list[Candidate]] = {}
        fields, used, taken = self.fields, self.used, self.taken
        for candidate in plan.candidates:
            field, target = fields[candidate.index], candidate.target
            value = field.value
            if value is None or value == "" or target in taken or candidate.index in used:
                continue
            if candidate.owner is None or target not in PERSONAL:
                if choice := self._parse(candidate, field, self.choices.get(target)):
                    if self._is_somewhere_else(plan, candidate):
                        elsewhere.append((candidate, choice))
                    else:
                        self._choose(choice)
                continue
            owned = personal.setdefault(candidate.owner, {})
            if target == "phone" and isinstance(value, str) and _PART.fullmatch(value):
                parts.setdefault(candidate.owner, []).append(candidate)
                continue
            if isinstance(value, dict) and target == "name":
                for part, text in name_parts(value):
                    why = f"part of {candidate.why}"
                    owned[part] = Choice(candidate.index, part, text, why, candidate.phrase)
            elif choice := self._parse(candidate, field, owned.get(target)):
                if choice.target in PERSONAL:
                    owned[choice.target] = choice
                else:
                    self._choose(choice)
        for at, candidates in parts.items():
            if "phone" not in personal[at] and (number := self._join(candidates)):
                personal[at]["phone"] = number
        self._drop_lone_currency()
        self._choose_person(plan, {at: owned for at, owned in personal.items() if owned})
        for candidate, choice in elsewhere:
            owner = plan.owners[candidate.owner or 0]
            is_free = owner.is_object and not (self.person and self.person.is_object)
            if self.person == owner or is_free:
                self._choose(choice)
        self._choose_standing_alone(plan)
        _sort_out_names(self.choices)
        if "last_name" not in self.choices:
            self.choices.pop("last_name_prefix", None)
        return Assignment(self.choices, self.rejected, self._find_repeated(personal))

    def _choose(self, choice: Choice) -> None:
        """Takes a choice, unless its field of the lead or of the payload is taken."""
        if choice.target in self.choices:
            return
        if choice.index in self.used and choice.target not in NAMES:
            return
        self.choices[choice.target] = choice
        self.used.add(choice.index)

    def _drop_lone_currency(self) -> None:
        """A currency without an amount is no value."""
        currency = self.choices.get("value.currency")
        if currency and not {"value.amount"} & (self.choices.keys() | self.taken.keys()):
            del self.choices["value.currency"]
            self.used.discard(currency.index)

    def _find_repeated(self, personal: dict[int, dict[str, Choice]]) -> frozenset[int]:
        """The fields that say the same as a chosen one: they are no answers of their own."""
        repeated: set[int] = set()
        for choice in self.choices.values():
            repeated |= self.repeated.get(choice.index, set())
        for owned in personal.values():
            for target, choice in owned.items():
                first = self.choices.get(target)
                if first and first.index != choice.index and first.value == choice.value:
                    repeated.add(choice.index)
        return frozenset(repeated)

    # One value.

    def _parse(
        self, candidate: Candidate, field: PayloadField, before: Choice | None
    ) -> Choice | None:
        """The value as a choice; None if it is not one, or no better than the choice `before`."""
        value, target = field.value, candidate.target
        if target == "country" and isinstance(value, str) and parse_dial_code(value):
            target, before = "phone_code", self.choices.get("phone_code")
        elif target == "phone" and isinstance(value, str) and len(value) == 2 and is_country(value):
            # A widget for numbers that sends the country first.
            return Choice(candidate.index, "phone_code", value, candidate.why)
        elif target == "phone_code" and not _is_dial_code(candidate, value):
            return None
        if before is not None and not self.effort.take_further():
            return None
        parsed, is_whole = self._parse_value(target, value)
        if parsed is None:
            if before is None and target in WEIGHTS and text_of(value):
                self.rejected.setdefault(target, field.label)
            return None
        if before is not None and not (target == "phone" and _is_in_full(before.value, parsed)):
            if parsed == before.value and target != "consent":
                # Two boxes are two questions.
                self.repeated.setdefault(before.index, set()).add(candidate.index)
            return None
        if target in _DOUBTED and not _is_plausible(candidate, field, parsed):
            return None
        return Choice(candidate.index, target, parsed, candidate.why, candidate.phrase, is_whole)

    def _parse_value(self, target: str, value: Tree) -> tuple[object, bool]:
        """The value of a field of the lead, and whether it is all that the payload's value says."""
        if isinstance(value, str):
            if target == "email":
                address = parse_address(value, self.effort)
                return (address.email, not address.has_more) if address else (None, True)
            if target == "phone":
                is_allowed = is_plain_number(value) or self.effort.take_unusual(value)
                return (parse_phone(str(value)) if is_allowed else None), True
            if target == "phone_code":
                return parse_dial_code(value), True
        elif isinstance(value, list) and target not in ("consent", "message"):
            return parse_value(target, value), len({text_of(item) for item in value}) <= 1
        elif target == "phone_code":
            return None, True
        return parse_value(target, value), True

    def _join(self, candidates: list[Candidate]) -> Choice | None:
        """A number in parts that follow each other: `tel1`, `tel2` and `tel3`."""
        candidates = sorted(candidates, key=lambda one: one.index)
        first, indexes = candidates[0], [one.index for one in candidates]
        if indexes != list(range(first.index, first.index + len(indexes))):
            return None
        number = parse_phone("-".join(self.fields[at].value for at in indexes))
        if number is None:
            return None
        self.repeated[first.index] = set(indexes[1:])
        return Choice(first.index, "phone", number, "the parts of a number", phrase=first.phrase)

    def _is_somewhere_else(self, plan: Plan, candidate: Candidate) -> bool:
        """Whether a field of the firm stands in an object that may be about anybody."""
        if candidate.owner is None:
            return False
        owner = plan.owners[candidate.owner]
        return owner.kind >= Ownership.UNKNOWN

    # The person.

    def _choose_person(self, plan: Plan, personal: dict[int, dict[str, Choice]]) -> None:
        """The person's fields, from the owner of whom most is known and those who agree with it."""
        if len(personal) == 1 and plan.owners[next(iter(personal))].kind <= Ownership.PERSON:
            ((at, chosen),) = personal.items()
            self.person = plan.owners[at]
        else:
            chosen = self._find_person(plan, personal)
        for target in PERSON_ORDER:
            if target in chosen:
                self._choose(chosen[target])

    def _find_person(self, plan: Plan, personal: dict[int, dict[str, Choice]]) -> dict[str, Choice]:
        people = [_Person(plan.owners[at], owned) for at, owned in personal.items()]
        people.sort(key=lambda one: (one.owner.kind, one.owner.name))
        near = [one for one in people if one.owner.kind <= Ownership.PERSON]
        guardians = [one for one in people if one.owner.kind is Ownership.GUARDIAN]
        unknown = [one for one in people if one.owner.kind is Ownership.UNKNOWN]
        main: _Person | None = None
        if not any(one.has(CONTACT) for one in near) and any(one.has(CONTACT) for one in guardians):
            # A child has been named, and whoever signs for it.
            main, near = _richest(one for one in guardians if one.has(CONTACT)), []
        elif any(one.has(CONTACT | NAMES) for one in near):
            main = _richest(near)
        elif any(one.has(CONTACT) for one in unknown):
            main = _richest(one for one in unknown if one.has(CONTACT))
        elif near:
            main = _richest(near)
        elif any(one.has(CONTACT) for one in people if one.owner.kind is Ownership.RELATIVE):
            main = _richest(one for one in people if one.owner.kind is Ownership.RELATIVE)
        elif all(owner.kind > Ownership.UNKNOWN for owner in plan.owners):
            main = _richest(one for one in people if one.owner.kind is Ownership.AMBIGUOUS)
        self.person = main.owner if main else None
        chosen = dict(main.owned) if main else {}
        if main and main.owner.is_object and {"first_name", "last_name"} <= chosen.keys():
            chosen.pop("name", None)
        for one in guardians:
            if one is not main and not NAMES.intersection(chosen):
                _complete(chosen, one.owned)
        contact = vocabulary().contact
        for one in near:
            if one is not main:
                _complete(chosen, one.owned, is_contact=one.owner.name in contact)
        for one in unknown:
            # A prefix that names nobody. With a name of its own it may be another person's, unless
            # it has both names and nobody else has any: `nom_resp` and `prenom_resp`.
            own_names = NAMES.intersection(one.owned)
            if own_names:
                is_completing = (
                    len(own_names) > 1 and not NAMES.intersection(chosen) and len(unknown) == 1
                )
            else:
                is_completing = not one.owner.is_object
            if one is not main and is_completing:
                _complete(chosen, one.owned)
        for one in people:
            if one.owner.kind is Ownership.COMPANY and not CONTACT.intersection(chosen):
                chosen = {
                    **{name: it for name, it in one.owned.items() if name in CONTACT},
                    **chosen,
                }
        self.strangers = {
            choice.index
            for one in people
            if one is not main and one.has(NAMES)
            for choice in one.owned.values()
        }
        return chosen

    # Values that need no name.

    def _choose_standing_alone(self, plan: Plan) -> None:
        """An address or a number that is the only one in the payload, under whatever name."""
        self._choose_alone("email", plan, is_like_address)
        self._choose_alone("phone", plan, is_like_number)
        email = self.choices.get("email")
        if email and not NAMES.intersection({*self.choices, *self.taken}):
            value = self.fields[email.index].value
            address = parse_address(value, self.effort) if isinstance(value, str) else None
            if address and address.name and parse_value("name", address.name):
                why = "written beside the address"
                self.choices["name"] = Choice(email.index, "name", address.name, why)

    def _choose_alone(self, target: str, plan: Plan, is_like: Callable[[str], bool]) -> None:
        if target in self.choices or target in self.taken:
            return
        by_value: dict[str, Choice] = {}
        for index in plan.unowned:
            if (
                index in self.used
                or index in self.strangers
                or (target == "phone" and index in plan.unrelated)
            ):
                continue
            value = self.fields[index].value
            if isinstance(value, str) and is_like(value):
                parsed, is_whole = self._parse_value(target, value)
                if parsed is not None:
                    why = "the only one in the payload"
                    choice = Choice(index, target, parsed, why, is_whole=is_whole)
                    by_value.setdefault(str(parsed), choice)
        if len(by_value) == 1:
            self._choose(next(iter(by_value.values())))


def is_like_address(text: str) -> bool:
    """Whether a text could be nothing but an e-mail address."""
    is_alone = " " not in text.strip() or "<" in text
    return is_alone and 3 < len(text) < 300 and text.count("@") == 1 and "://" not in text


def is_like_number(text: str) -> bool:
    """Whether a text could be nothing but a phone number."""
    return 7 < len(text) < 30 and looks_like_phone(text)


def name_parts(value: dict[str, Tree]) -> Iterator[tuple[str, str]]:
    """The first and last name of an object, `{first, last}`; with a title the full name as well."""
    parts = {
        match_path(("name", key)): text for key, part in value.items() if (text := text_of(part))
    }
    first_last = [name for name in ("first_name", "last_name") if name in parts]
    for name in first_last:
        yield name, parts[name]
    has_more = sum(1 for part in value.values() if text_of(part)) > len(first_last)
    whole = parse_value("name", text_of(value)) if has_more or not first_last else None
    if whole:
        yield "name", str(whole)


def _is_dial_code(candidate: Candidate, value: Tree) -> bool:
    """Whether it is a country's code, where `47` may be an area's as well."""
    return isinstance(value, str) and (
        value.strip().startswith(("+", "00")) or "country" in candidate.phrase
    )


def _is_plausible(candidate: Candidate, field: PayloadField, parsed: object) -> bool:
    """Whether the value may be what its name, which could be many things, asks for."""
    if candidate.rank <= Rank.SOURCE:
        return True
    is_choice = bool(field.kind) and str(field.kind).lower().replace("-", "_") in CHOICE_KINDS
    if candidate.target == "message":
        is_choice = is_choice or (isinstance(field.value, list) and len(field.value) > 1)
        is_choice = is_choice or bool(_ONE_TOKEN.fullmatch(str(parsed)))
        is_weak = candidate.phrase in vocabulary().choices
        is_question = candidate.rank >= Rank.MENTIONED or field.label.count(" ") > 3
        least = MIN_MESSAGE_WORDS + 1 if is_question else MIN_MESSAGE_WORDS
        is_weak = is_weak or candidate.rank >= Rank.MENTIONED
        return not is_choice and not (is_weak and not _is_sentence(parsed, least))
    if candidate.target == "consent":
        # No newsletter is not the refusal of the terms.
        return candidate.rank < Rank.GIVES_WAY or parsed is not False
    if candidate.rank < Rank.MENTIONED:
        return candidate.target == "phone" or not is_choice
    if candidate.target == "name":
        return bool(_FULL_NAME.fullmatch(str(parsed)))
    return isinstance(field.value, str) and not is_choice


def _is_sentence(value: object, least_words: int) -> bool:
    """Whether a text says more than one of a few choices would."""
    text = str(value)
    is_long = len(text.split()) >= least_words or len(text) > MAX_CHOICE_CHARS
    return is_long or "\n" in text or text.rstrip()[-1:] in set("?.!？。！؟")


class _Person(Struct, frozen=True):
    """What one owner of fields has."""

    owner: Owner
    owned: dict[str, Choice]

    def has(self, targets: frozenset[str]) -> bool:
        return not targets.isdisjoint(self.owned)


def _richest(people: Iterable[_Person]) -> _Person | None:
    """Of whom most is known; of equals the first, a person by name before one without."""
    return max(
        people,
        key=lambda one: (
            sum(WEIGHTS[target] for target in one.owned),
            one.owner.kind is Ownership.PERSON,
        ),
        default=None,
    )


def _complete(
    chosen: dict[str, Choice], owned: dict[str, Choice], *, is_contact: bool = False
) -> None:
    """Adds what is missing, unless the other owner's data contradict the person's."""
    clash = {name for name in owned if name in chosen and chosen[name].value != owned[name].value}
    has_names, brings_names = NAMES.intersection(chosen), NAMES.intersection(owned)
    if is_contact and clash <= {"name"} and brings_names:
        # `contact_name` is a person's where `name` beside it may be that of anything.
        for name in has_names:
            del chosen[name]
    elif clash == {"phone"} and _is_in_full(chosen["phone"].value, owned["phone"].value):
        chosen["phone"] = owned["phone"]
    elif clash or (has_names and brings_names and has_names != brings_names):
        return
    for name, choice in owned.items():
        chosen.setdefault(name, choice)


def _is_in_full(before: object, after: object) -> bool:
    """Whether a second number is the first one with its country's code."""
    first, second = str(before), str(after)
    return (
        second.startswith(("+", "00"))
        and not first.startswith(("+", "00"))
        and is_same_number(first, second)
    )


def _sort_out_names(choices: dict[str, Choice]) -> None:
    """`nom` beside `prénom` is the family name, `nombre` beside `apellidos` the given one.

    A full name stays a full name.
    """
    name, first, last = (choices.get(target) for target in ("name", "first_name", "last_name"))
    if not name or bool(first) == bool(last):
        return
    other, words = first or last, vocabulary()
    assert other is not None
    text, part = str(name.value).casefold(), str(other.value).casefold()
    if name.index == other.index or part in text.split() or text.startswith(f"{part} "):
        return
    is_one_word = len(text.split()) == 1
    if first and (name.phrase in words.family_beside_given or is_one_word):
        choices["last_name"] = choices.pop("name")
    elif last and (name.phrase in words.given_beside_family or is_one_word):
        choices["first_name"] = choices.pop("name")
