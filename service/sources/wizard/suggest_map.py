"""Which answers of a lead may be fields of it after all, by their values or by their parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from service.sources.adapters.base import Adapter
from service.sources.fields.effort import Effort
from service.sources.fields.emails import parse_email
from service.sources.fields.phones import parse_phone
from service.sources.fields.recognition import match_label, match_path
from service.sources.fields.text import clean_label, clean_text
from service.sources.fields.transforms import extract
from service.sources.fields.values import parse_bool, parse_value
from service.sources.languages.vocabulary import vocabulary
from service.sources.languages.words import split_words
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.tree import Path, Tree, UnreadableBody, resolve, text_of
from service.sources.request import InboundRequest
from service.sources.schema import Source
from worker.contract import Lead

MAX_UNMAPPED = 60
MAX_SHOWN_CHARS = 200
# A text is a message if it has at least this length and this many spaces, under a short label.
MIN_MESSAGE_CHARS = 40
MIN_MESSAGE_SPACES = 5
MAX_MESSAGE_LABEL_WORDS = 4
# Words of a text in which an e-mail address or a phone number is looked for.
MIN_SENTENCE_WORDS = 3
AMOUNT_KEYS = ("amount", "value", "total", "price", "sum")
CURRENCY_KEYS = ("currency", "currencycode")
# Keys of an object about a campaign -> fields.
CAMPAIGN_KEYS = {
    "src": "utm_source", "source": "utm_source", "name": "utm_campaign", "medium": "utm_medium",
    "term": "utm_term", "keyword": "utm_term", "content": "utm_content", "id": "utm_id",
}  # fmt: skip
TIME_KEYS = ("when", "ts", "time", "at", "date", "created", "submitted", "sent")
IN_PARTS = "in parts, read together"
_CAMPAIGN = re.compile("campaign|utm|tracking|attribution")
_NUMBERED = re.compile(
    r"(?:field|input|q|question|answer|text|f|a)?[ _-]*[0-9]+(?:[._][0-9]+)*", re.IGNORECASE
)
_PHONE = re.compile(r"(?:\+|00|0|\()[0-9 ()/.-]{7,22}[0-9]", re.ASCII)
_PERSON = re.compile(r"[^\W\d_][\w'’.-]*(?: [^\W\d_][\w'’.-]*){1,3}")
_CONSENT = re.compile(
    r"aceito|acepto|accetto|j.accepte|i (?:agree|accept|consent)|agreed?|accepted|akzeptiert"
    r"|akkoord",
    re.IGNORECASE,
)
# A mark of at most three letters before an id, an address or a number.
_MARKED = re.compile(r"([a-z]{1,3}:)([^\s/].{2,200})", re.IGNORECASE)
_UNIX_TIME = re.compile(r"1[0-9]{9}(?:[0-9]{3})?", re.ASCII)


class UnmappedQuestion(Struct, frozen=True):
    """A question without a field: the `path` that `map` takes, its `label`, its `value` as text."""

    path: str
    label: str
    value: str


class MapSuggestion(Struct, frozen=True):
    """A line of `map`; `why` is empty if a person decided it.

    `change` are the keys that change the value, such as `extract`.
    """

    path: str
    field: str
    why: str
    change: dict[str, str] = {}

    @property
    def line(self) -> str | dict[str, str]:
        """What stands behind the path in the source file."""
        return {"to": self.field} | self.change if self.change else self.field


def read_events(adapter: Adapter, request: InboundRequest, source: Source) -> list[ParsedEvent]:
    """The events as the adapter reads them; none if it cannot."""
    try:
        return adapter.read(request, source)
    except UnreadableBody:
        return []


def find_unmapped(event: ParsedEvent, lead: Lead) -> list[UnmappedQuestion]:
    """The questions that end up among the answers, in order."""
    questions: dict[str, UnmappedQuestion] = {}
    for field in _unmapped_fields(event, lead):
        if path := _map_path(event, field.path):
            text = (text_of(field.value) or "")[:MAX_SHOWN_CHARS]
            questions.setdefault(path, UnmappedQuestion(path, clean_label(field.label), text))
    return list(questions.values())[:MAX_UNMAPPED]


def suggest_map(event: ParsedEvent, lead: Lead) -> list[MapSuggestion]:
    """Lines of `map` for fields that the lead lacks; each field and each path once."""
    unmapped = _unmapped_fields(event, lead)
    by_field: dict[str, MapSuggestion] = {}
    paths: set[str] = set()
    for line in (
        *_suggest_stripped(event, lead),
        *_suggest_by_parts(event, unmapped, lead),
        *_suggest_by_value(event, unmapped, lead),
    ):
        is_new = line.field not in by_field and line.path not in paths
        is_better = line.why == IN_PARTS or "strip" in line.change
        if is_new and (is_better or not _has(lead, line.field)):
            by_field[line.field] = line
            paths.add(line.path)
    return list(by_field.values())


def _unmapped_fields(event: ParsedEvent, lead: Lead) -> list[PayloadField]:
    return [
        field for field in event.fields if field.path and clean_label(field.label) in lead.answers
    ]


def _has(lead: Lead, field: str) -> bool:
    return bool(lead.full_name) if field == "name" else _value_of(lead, field) is not None


def _value_of(lead: Lead, field: str) -> object:
    if field.startswith("utm_"):
        return getattr(lead.utm, field[4:])
    return lead.value if field.startswith("value") else getattr(lead, field, None)


def _suggest_by_parts(
    event: ParsedEvent, unmapped: list[PayloadField], lead: Lead
) -> Iterator[MapSuggestion]:
    """A name, a phone number or an amount in parts, and the parts of a campaign."""
    for parent in dict.fromkeys(field.path[:-1] for field in unmapped if len(field.path) > 1):
        parts = {field.path[-1]: field.value for field in event.fields if field.path[:-1] == parent}
        path = _map_path(event, parent)
        if not path or not all(isinstance(value, str) for value in parts.values()):
            continue
        match = match_label(parent[-1])
        if match in ("name", "phone") and _is_in_parts(parts, match):
            current = getattr(lead, match)
            if current is None or current in parts.values():
                yield MapSuggestion(path, match, IN_PARTS)
        keys = {re.sub(r"[^a-z]", "", name.lower()): name for name in parts}
        amount, currency = (
            next((keys[name] for name in names if name in keys), None)
            for names in (AMOUNT_KEYS, CURRENCY_KEYS)
        )
        if amount and currency:
            reason = "the currency of the amount"
            yield MapSuggestion(f"{path}.{amount}", "value", "an amount with its currency")
            yield MapSuggestion(f"{path}.{currency}", "value.currency", reason)
        if _CAMPAIGN.search(parent[-1].lower()):
            for name, target in CAMPAIGN_KEYS.items():
                if name in keys:
                    yield MapSuggestion(f"{path}.{keys[name]}", target, "part of the campaign")


def _is_in_parts(parts: dict[str, Tree], target: str) -> bool:
    """Whether an object is a name or a number in parts, not somebody's whole record."""
    own_fields = (target, "first_name", "last_name", "name")
    matches = map(match_label, parts)
    is_record = any(match and match not in own_fields for match in matches)
    return len(parts) > 1 and not is_record


def _suggest_by_value(
    event: ParsedEvent, unmapped: list[PayloadField], lead: Lead
) -> Iterator[MapSuggestion]:
    """Values that can be only one thing, unless the label says that they are somebody else's."""
    texts = [field for field in unmapped if isinstance(field.value, str)]
    nameless = [field for field in texts if _says_nothing(field)]
    addresses = [field for field in texts if parse_email(field.value, Effort())]
    if len(addresses) == 1:
        yield from _suggest(event, addresses[0], "email", "the only e-mail address")
    elif not addresses:
        yield from _suggest_extracted(event, texts, lead)
    for field in unmapped:
        yield from _suggest_alone(event, field)
    yield from _suggest_numbered_names(event, unmapped)
    numbers = [
        field
        for field in nameless
        if _PHONE.fullmatch(field.value) and parse_phone(field.value, Effort())
    ]
    if len(numbers) == 1:
        yield from _suggest(event, numbers[0], "phone", "guessed: it looks like a phone number")
    if not lead.full_name:
        yield from _suggest_names(event, unmapped, texts)
    messages = [field for field in texts if _is_message(field)]
    if len(messages) == 1:
        yield from _suggest(event, messages[0], "message", "guessed: the only longer text")


def _suggest_extracted(
    event: ParsedEvent, texts: list[PayloadField], lead: Lead
) -> Iterator[MapSuggestion]:
    """The only e-mail address, or the only phone number, in a longer text.

    In the message, which then is an answer, only if nobody could be written to otherwise.
    """
    for kind in ("email", "phone"):
        if lead.email or lead.phone:
            places = texts if kind == "email" else []
        else:
            places = [*texts, *(one for one in event.fields if _is_text_of(one, lead.message))]
        sentences = [one for one in places[:MAX_UNMAPPED] if _is_own_sentence(one)]
        effort = Effort()
        parts = [(one, extract(kind, one.value, effort)) for one in sentences]
        holding = [one for one, part in parts if part]
        if len(holding) == 1 and len({part for _, part in parts if part}) == 1:
            names = {"email": "e-mail address", "phone": "phone number"}
            reason = f"the only {names[kind]} is in its text"
            yield from _suggest(event, holding[0], kind, reason, {"extract": kind})
            return


def _is_own_sentence(field: PayloadField) -> bool:
    """Whether it is of several words, under a label that speaks of nobody else."""
    words = sum(any(map(str.isalpha, word)) and "@" not in word for word in field.value.split())
    label_words = split_words(" ".join(field.name_path))
    return words >= MIN_SENTENCE_WORDS and vocabulary().strange.isdisjoint(label_words)


def _is_text_of(field: PayloadField, text: str | None) -> bool:
    return text is not None and isinstance(field.value, str) and clean_text(field.value) == text


def _suggest_stripped(event: ParsedEvent, lead: Lead) -> Iterator[MapSuggestion]:
    """Fields that a product marks with their kind: `f:1234` is the id of a form."""
    for field in event.fields:
        match = _MARKED.fullmatch(field.value) if isinstance(field.value, str) else None
        target = match_path(field.name_path) if match and field.path else None
        if match is None or target is None or parse_value(target, match[2], Effort()) is None:
            continue
        taken = _value_of(lead, target)
        if taken == field.value or (taken is None and target in ("email", "phone")):
            reason = f"without the mark {match[1]}"
            yield from _suggest(event, field, target, reason, {"strip": match[1]})


def _suggest_alone(event: ParsedEvent, field: PayloadField) -> Iterator[MapSuggestion]:
    """What one value says by itself: a name or number in an object, a consent, a Unix time."""
    value = field.value
    if isinstance(value, dict):
        if value.keys() & {"first", "last"}:
            yield from _suggest(event, field, "name", "a name in parts")
        elif value.keys() & {"area", "phone", "full"}:
            yield from _suggest(event, field, "phone", "a phone number in parts")
    elif not isinstance(value, str):
        return
    elif _CONSENT.fullmatch(value.strip()) and parse_bool(value):
        reason = "the answer agrees to something: check that it is to being contacted"
        yield from _suggest(event, field, "consent", reason)
    elif field.path[-1].lower() in TIME_KEYS and _UNIX_TIME.fullmatch(value):
        yield from _suggest(event, field, "occurred_at", "a Unix time")


def _suggest_names(
    event: ParsedEvent, unmapped: list[PayloadField], texts: list[PayloadField]
) -> Iterator[MapSuggestion]:
    """A person's name: the first under a label that says nothing, or one under `Name …`."""
    persons = [field for field in texts if _PERSON.fullmatch(field.value)]
    first_nameless = next((field for field in unmapped if _says_nothing(field)), None)
    if any(field is first_nameless for field in persons):
        reason = "guessed: it looks like a person's name"
        yield from _suggest(event, first_nameless, "name", reason)
    named = [field for field in persons if _label_begins_as_name(field)]
    if len(named) == 1:
        yield from _suggest(event, named[0], "name", "guessed from the beginning of its label")


def _is_message(field: PayloadField) -> bool:
    """Whether it is a longer text under a short label; under a question it would be an answer."""
    is_long = len(field.value) >= MIN_MESSAGE_CHARS and field.value.count(" ") >= MIN_MESSAGE_SPACES
    return (
        is_long and field.title is None and len(split_words(field.label)) <= MAX_MESSAGE_LABEL_WORDS
    )


def _label_begins_as_name(field: PayloadField) -> bool:
    first = split_words(field.label)[:1]
    match = match_label(first[0]) if first else None
    return match is not None and match == "name"


def _suggest_numbered_names(
    event: ParsedEvent, unmapped: list[PayloadField]
) -> Iterator[MapSuggestion]:
    """`1.3` and `1.6`: first and last name in WordPress forms, unless `1.1` makes it an address."""
    by_key = {field.path[-1]: field for field in event.fields}
    for field in unmapped:
        number, _, part = field.path[-1].rpartition(".")
        last = by_key.get(f"{number}.6")
        if part == "3" and last and f"{number}.1" not in by_key:
            yield from _suggest(event, field, "first_name", "the first name in a field for names")
            yield from _suggest(event, last, "last_name", "the last name in a field for names")


def _says_nothing(field: PayloadField) -> bool:
    """Whether the label is a number, or in a script in which no synonyms are known."""
    is_foreign = any(map(str.isalpha, field.label)) and not any(map(str.isascii, field.label))
    is_numbered = field.title is None and bool(_NUMBERED.fullmatch(field.path[-1]))
    return (is_foreign or is_numbered) and match_path(field.name_path) is None


def _suggest(
    event: ParsedEvent,
    field: PayloadField | None,
    target: str,
    reason: str,
    change: dict[str, str] | None = None,
) -> Iterator[MapSuggestion]:
    if field and (path := _map_path(event, field.path)):
        yield MapSuggestion(path, target, reason, change or {})


def _map_path(event: ParsedEvent, path: Path) -> str | None:
    """The path as `map` takes it: from the root or from the top.

    None if dots in the names would lead elsewhere.
    """
    for scope in event.scopes:
        steps = path[len(scope.path) :]
        if steps and path[: len(scope.path)] == scope.path and all(".".join(steps).split(".")):
            match = resolve(scope.tree, ".".join(steps))
            if match and match[0] == steps:
                return ".".join(steps)
    return None
