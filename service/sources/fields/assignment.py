"""Chooses, from a plan and the values, which fields of a payload become which of the lead.

One assignment is made for the whole payload. E-mail, phone and names of a lead come from one owner:
a person is never completed from somebody else's object. A doubtful value stays an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct, structs

from service.sources.fields.attribution import is_tracked
from service.sources.fields.countries import is_country
from service.sources.fields.effort import (
    FURTHER_CHARS_PER_UNIT,
    FURTHER_VALUE_UNITS,
    NAME_UNITS,
    Effort,
)
from service.sources.fields.emails import parse_address
from service.sources.fields.owners import ABOUT_FORM, CONTACT, NAMES, PERSONAL, Owner, Ownership
from service.sources.fields.phones import (
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
from worker.lead.money import parse_money
from worker.lead.phone_numbers import is_same_number
from worker.lead.templates import CLICK_IDS, UTM_PARTS

# How much each part of a person weighs when several owners compete to be the lead.
WEIGHTS = {"email": 4, "phone": 3, "name": 3, "first_name": 2, "last_name": 2, "job_title": 1}
# A text of fewer words and characters may be a choice from a list rather than a message.
MIN_MESSAGE_WORDS = 3
MAX_CHOICE_CHARS = 30
# Parts of a name in an object.
MAX_NAME_PARTS = 12
# The order in which a person's fields take their values.
PERSON_ORDER = ("email", "phone", "first_name", "last_name", "name", "job_title")
# Types of question that are answered by a choice, or at least not in words.
CHOICE_KINDS = frozenset(
    (
        "select", "radio", "checkbox", "dropdown", "multiple_choice", "multiplechoice", "choice",
        "checkboxes", "multiselect", "rating", "scale", "number", "date", "time", "hidden", "file",
        "upload", "fileupload",
    )
)  # fmt: skip
# Spaces of a label that make it a question.
MIN_QUESTION_SPACES = 4
# An address, a link or a number alone is no message.
_ONE_TOKEN = re.compile(r"\S+@\S+|https?://\S+|[+0-9 ()-]{7,20}")
# An area code in a field of its own.
_AREA_CODE = re.compile(r"\(?[0-9]{2,5}\)?")
# Digits of a number within its area, and of one in full. Two digits before the latter may be the
# code of a country.
MIN_LOCAL_DIGITS, MIN_NATIONAL_DIGITS = 7, 10
MAX_COUNTRY_DIGITS = 2
# Phrases that ask for the code of a country, and never for that of an area.
_DIAL_CODES = frozenset(
    {
        "ddi", "dialcode", "callingcode", "isdcode", "internationalcode", "internationalprefix",
        "landervorwahl", "laendervorwahl", "landesvorwahl", "internationalevorwahl",
        "indicatifpays", "prefijointernacional", "prefissointernazionale",
    }
)  # fmt: skip
# A part of a phone number.
_PHONE_PART = re.compile(r"\+?[0-9]{1,4}")
# Fields of the lead that several values leave open: two amounts are a range, not the first one.
_NEVER_ONE_OF_SEVERAL = frozenset({"value.amount", "value.currency", "country"})
# Fields of the lead whose value may turn out to belong to another field.
_SPECIAL = frozenset({"country", "phone", "phone_code", "website"})
# Fields of the lead that take whatever text their parsers take.
_PLAIN = frozenset(
    (
        *ABOUT_FORM, *(f"utm_{part}" for part in UTM_PARTS),
        *(f"click_ids.{name}" for name in CLICK_IDS),
    )
)  # fmt: skip
# Fields of the lead whose names are so common that the value must fit as well.
_DOUBTED = frozenset({"consent", "message", "company", "phone", *NAMES})
# A given and a family name, each capitalised if the script has capitals; or a few characters of
# Chinese, Japanese or Korean.
_FULL_NAME = re.compile(
    r"[^\W\d_a-z][\w'’.-]*(?: [^\W\d_a-z][\w'’.-]*){1,3}"
    r"|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{2,6}"
)


class Choice(Struct, frozen=True, gc=False):
    """A value for a field of the lead, and why; `index` is that of the payload's field.

    `is_whole`: the payload's value says no more than this, so it need not stay an answer.
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
    """The choices for a payload; the fields `taken` are filled already, from the indexes `used`."""
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
        # Fields of the lead for which a value was looked at.
        self.attempted: set[str] = set()
        # Who the lead is.
        self.person: Owner | None = None
        # Fields of other people who are named.
        self.strangers: set[int] = set()
        # Index of a field -> indexes of the fields that say the same.
        self.repeated: dict[int, set[int]] = {}

    def assign(self, plan: Plan) -> Assignment:
        personal: dict[int, dict[str, Choice]] = {}
        elsewhere: list[tuple[Candidate, Choice]] = []
        parts: dict[int, list[Candidate]] = {}
        fields, used, taken, effort = self.fields, self.used, self.taken, self.effort
        for candidate in plan.candidates:
            field, target = fields[candidate.index], candidate.target
            value = field.value
            if value is None or value == "" or target in taken or candidate.index in used:
                continue
            if target in _PLAIN and type(value) is str and target not in self.choices:
                parsed = parse_value(target, value, effort)
                if parsed is not None:
                    why, phrase = candidate.why, candidate.phrase
                    self._choose(Choice(candidate.index, target, parsed, why, phrase))
                continue
            if candidate.owner is None or target not in PERSONAL:
                if choice := self._parse(candidate, field, self.choices.get(target)):
                    if candidate.owner is not None and self._is_somewhere_else(plan, candidate):
                        elsewhere.append((candidate, choice))
                    else:
                        self._choose(choice)
                continue
            owned = personal.setdefault(candidate.owner, {})
            if target == "phone" and isinstance(value, str) and _PHONE_PART.fullmatch(value):
                parts.setdefault(candidate.owner, []).append(candidate)
                continue
            if isinstance(value, dict) and target == "name":
                for part, text in name_parts(value, effort):
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
        self._add_area_code()
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

    def _add_area_code(self) -> None:
        """Join a number and its area code from a field of its own: `ddd` and `telefone`."""
        area, phone = self.choices.pop("phone_area", None), self.choices.get("phone")
        if area is None:
            return
        number, code = (str(phone.value) if phone else "+"), str(area.value).strip("()")
        if number.startswith(("+", "0", "(")) or _has_area_code(number, code):
            self.used.discard(area.index)
        elif phone:
            joined = f"{code} {number}"
            self.choices["phone"] = structs.replace(
                phone, value=joined, why=f"{phone.why}; {area.why}"
            )
            self.repeated.setdefault(phone.index, set()).add(area.index)

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
        if target not in _SPECIAL:
            pass
        elif target == "country" and isinstance(value, str) and parse_dial_code(value):
            target, before = "phone_code", self.choices.get("phone_code")
        elif target == "phone" and isinstance(value, str) and len(value) == 2 and is_country(value):
            # A phone widget that sends the country in a field of its own.
            return Choice(candidate.index, "phone_code", value, candidate.why)
        elif target == "phone_code" and not _is_dial_code(candidate, value):
            if isinstance(value, str) and _AREA_CODE.fullmatch(value.strip()):
                return Choice(candidate.index, "phone_area", value.strip(), candidate.why)
            return None
        elif target == "website" and isinstance(value, str) and is_tracked(value):
            # The page where somebody arrived; the campaign is read from it.
            return None
        if target in self.attempted and not self._may_try_another(value):
            return None
        self.attempted.add(target)
        parsed, is_whole = self._parse_value(target, value)
        if parsed is None:
            if before is None and target in WEIGHTS and text_of(value):
                self.rejected.setdefault(target, field.label)
            return None
        if before is not None and not (target == "phone" and _is_in_full(before.value, parsed)):
            if parsed == before.value and target != "consent":
                # Two tick boxes are two questions.
                self.repeated.setdefault(before.index, set()).add(candidate.index)
            return None
        if target in _DOUBTED and candidate.rank > Rank.SOURCE:
            if not _is_plausible(candidate, field, parsed):
                return None
        elif target == "value.amount" and isinstance(parsed, str) and not self._is_sum(parsed):
            # A range, or words.
            return None
        return Choice(candidate.index, target, parsed, candidate.why, candidate.phrase, is_whole)

    def _may_try_another(self, value: Tree) -> bool:
        """Whether the request may cost one more value for a field that was tried before."""
        chars = len(value) if isinstance(value, str) else 0
        return self.effort.take(FURTHER_VALUE_UNITS + chars // FURTHER_CHARS_PER_UNIT)

    def _is_sum(self, text: str) -> bool:
        return self.effort.take_unusual(text) and parse_money(text) is not None

    def _parse_value(self, target: str, value: Tree) -> tuple[object, bool]:
        """The value for a field of the lead, and whether the payload's value says no more."""
        if isinstance(value, str):
            if target == "email":
                address = parse_address(value, self.effort)
                return (address.email, not address.has_more) if address else (None, True)
            if target == "phone":
                return parse_phone(value, self.effort), True
            if target == "phone_code":
                return parse_dial_code(value), True
        elif isinstance(value, list) and target not in ("consent", "message"):
            if target in _NEVER_ONE_OF_SEVERAL and len({text_of(item) for item in value}) > 1:
                return None, True
            parsed = parse_value(target, value, self.effort)
            return parsed, len({text_of(item) for item in value}) <= 1
        elif target == "phone_code":
            return None, True
        return parse_value(target, value, self.effort), True

    def _join(self, candidates: list[Candidate]) -> Choice | None:
        """A phone number in consecutive parts: `tel1`, `tel2` and `tel3`."""
        candidates = sorted(candidates, key=lambda one: one.index)
        first, indexes = candidates[0], [one.index for one in candidates]
        if indexes != list(range(first.index, first.index + len(indexes))):
            return None
        number = parse_phone("-".join(self.fields[at].value for at in indexes), self.effort)
        if number is None:
            return None
        self.repeated[first.index] = set(indexes[1:])
        return Choice(first.index, "phone", number, "the parts of a number", phrase=first.phrase)

    def _is_somewhere_else(self, plan: Plan, candidate: Candidate) -> bool:
        """Whether a field of the company is in an object that may be about anybody."""
        return (
            candidate.owner is not None and plan.owners[candidate.owner].kind >= Ownership.GUARDIAN
        )

    # The person.

    def _choose_person(self, plan: Plan, personal: dict[int, dict[str, Choice]]) -> None:
        """The person's fields, from the owner with the most and from those who agree with it."""
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
        relatives = [one for one in people if one.owner.kind is Ownership.RELATIVE]
        main: _Person | None = None
        if not _with_contact(near) and _with_contact(guardians):
            # The form asks for a child, and for whoever signs for it.
            main, near = _richest(_with_contact(guardians)), []
        elif any(one.has(CONTACT | NAMES) for one in near):
            main = _richest(near)
        elif _with_contact(unknown):
            main = _richest(_with_contact(unknown))
        elif near:
            main = _richest(near)
        elif _with_contact(relatives):
            main = _richest(relatives)
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
            # A prefix that is no word for a person. With a name it may be another person's, unless
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
                chosen |= {name: it for name, it in one.owned.items() if name in CONTACT}
        self.strangers = {
            choice.index
            for one in people
            if one is not main and one.has(NAMES)
            for choice in one.owned.values()
        }
        return chosen

    # Values that need no name.

    def _choose_standing_alone(self, plan: Plan) -> None:
        """The only address or number in a payload, whatever its name."""
        self._choose_alone("email", plan, is_like_address)
        self._choose_alone("phone", plan, is_like_number)
        email = self.choices.get("email")
        if email and not NAMES.intersection({*self.choices, *self.taken}):
            value = self.fields[email.index].value
            address = parse_address(value, self.effort) if isinstance(value, str) else None
            if address and address.name and parse_value("name", address.name, self.effort):
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


def name_parts(value: dict[str, Tree], effort: Effort) -> Iterator[tuple[str, str]]:
    """The first and last name of an object, `{first, last}`; with a title the full name as well."""
    parts = {
        match_path(("name", key)): text
        for key, part in islice(value.items(), MAX_NAME_PARTS)
        if (text := text_of(part)) and effort.take(NAME_UNITS)
    }
    first_last = [name for name in ("first_name", "last_name") if name in parts]
    for name in first_last:
        yield name, parts[name]
    has_more = sum(1 for part in value.values() if text_of(part)) > len(first_last)
    whole = parse_value("name", text_of(value), effort) if has_more or not first_last else None
    if whole:
        yield "name", str(whole)


def _is_dial_code(candidate: Candidate, value: Tree) -> bool:
    """Whether it is a country's calling code; `47` without a `+` may be an area code."""
    return isinstance(value, str) and (
        value.strip().startswith(("+", "00"))
        or "country" in candidate.phrase
        or candidate.phrase in _DIAL_CODES
    )


def _has_area_code(number: str, code: str) -> bool:
    """Whether a number begins with its area code, or needs none: `555-0123` needs its 555."""
    digits = sum(map(str.isdigit, number))
    if number.startswith(code) and digits - len(code) >= MIN_LOCAL_DIGITS:
        return True
    return digits >= MIN_NATIONAL_DIGITS and len(code) > MAX_COUNTRY_DIGITS


def _is_plausible(candidate: Candidate, field: PayloadField, parsed: object) -> bool:
    """Whether a value fits a name that may ask for other things as well."""
    if candidate.target == "message":
        return _is_message(candidate, field, parsed)
    if candidate.target == "consent":
        # Declining a newsletter does not decline the terms.
        return candidate.rank < Rank.GIVES_WAY or parsed is not False
    if candidate.rank < Rank.MENTIONED:
        return candidate.target == "phone" or not _is_choice(field)
    if candidate.target == "name":
        return bool(_FULL_NAME.fullmatch(str(parsed)))
    return isinstance(field.value, str) and not _is_choice(field)


def _is_choice(field: PayloadField) -> bool:
    """Whether the product says that a question is answered by a choice."""
    return bool(field.kind) and str(field.kind).lower().replace("-", "_") in CHOICE_KINDS


def _is_message(candidate: Candidate, field: PayloadField, parsed: object) -> bool:
    """Whether a text is somebody's own words rather than a choice or an address."""
    has_several = isinstance(field.value, list) and len(field.value) > 1
    if _is_choice(field) or has_several or _ONE_TOKEN.fullmatch(str(parsed)):
        return False
    is_mention = candidate.rank >= Rank.MENTIONED
    if not is_mention and candidate.phrase not in vocabulary().choices:
        return True
    is_question = is_mention or field.label.count(" ") >= MIN_QUESTION_SPACES
    return _is_sentence(parsed, MIN_MESSAGE_WORDS + is_question)


def _is_sentence(value: object, least_words: int) -> bool:
    """Whether a text says more than one of a few choices would."""
    text = str(value)
    is_long = len(text.split()) >= least_words or len(text) > MAX_CHOICE_CHARS
    return is_long or "\n" in text or text.rstrip()[-1:] in set("?.!？。！؟")


class _Person(Struct, frozen=True):
    """An owner, and the fields that it has."""

    owner: Owner
    owned: dict[str, Choice]

    def has(self, targets: frozenset[str]) -> bool:
        return not targets.isdisjoint(self.owned)


def _richest(people: Iterable[_Person]) -> _Person | None:
    """The one of whom most is known; of equals, the first that the payload calls a person."""
    return max(
        people,
        key=lambda one: (
            sum(WEIGHTS[target] for target in one.owned),
            one.owner.kind is Ownership.PERSON,
        ),
        default=None,
    )


def _with_contact(people: list[_Person]) -> list[_Person]:
    return [one for one in people if one.has(CONTACT)]


def _complete(
    chosen: dict[str, Choice], owned: dict[str, Choice], *, is_contact: bool = False
) -> None:
    """Adds what is missing, unless the other owner's data contradict the person's."""
    clash = {name for name in owned if name in chosen and chosen[name].value != owned[name].value}
    has_names, brings_names = NAMES.intersection(chosen), NAMES.intersection(owned)
    if is_contact and clash <= {"name"} and brings_names:
        # `contact_name` is a person's; `name` beside it may be that of anything.
        for name in has_names:
            del chosen[name]
    elif clash == {"phone"} and _is_in_full(chosen["phone"].value, owned["phone"].value):
        chosen["phone"] = owned["phone"]
    elif clash or (has_names and brings_names and has_names != brings_names):
        return
    for name, choice in owned.items():
        chosen.setdefault(name, choice)


def _is_in_full(before: object, after: object) -> bool:
    """Whether a second number is the first one with a country code."""
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
