"""What is to be left out: of the reading of a payload, or of what tells two posts apart."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from service.sources.fields.effort import Effort
from service.sources.fields.owners import PERSONAL
from service.sources.fields.recognition import match_label, match_path
from service.sources.fields.values import parse_value
from service.sources.fields.volatile import is_volatile, looks_volatile
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.ignored import written_path
from worker.contract import Lead

MAX_TRIED_OBJECTS = 40
PERSON = frozenset({"name", "phone"})
Read = Callable[[list[str]], Lead | None]


def suggest_dedupe_ignore(lead: Lead, now: float) -> list[str]:
    """Answers that differ from post to post by their values, where their names do not say so.

    An event with an id is told by that alone.
    """
    if lead.event_id:
        return []
    return [
        label
        for label, value in lead.answers.items()
        if isinstance(value, str)
        and label.isprintable()
        and looks_volatile(value, now)
        and not is_volatile(label, value)
    ]


def suggest_ignore(event: ParsedEvent, lead: Lead, read: Read) -> tuple[list[str], list[str]]:
    """Paths of other people's objects, whose names do not say so: certain ones, and doubtful ones.

    `read` gives the lead under some ignored paths. A certain one has given something to a lead who
    is somebody else. A doubtful one would be the lead if the lead's own object, of which nothing
    says either that it is, were missing.
    """
    people = {path: fields for path, fields in _objects(event).items() if _is_person(fields)}
    taken_path = next(
        (path for path, fields in people.items() if _has_email_of(fields, lead)), None
    )
    certain: list[str] = []
    doubtful: list[str] = []
    for path, fields in list(people.items())[:MAX_TRIED_OBJECTS]:
        if path == taken_path or _is_known(fields):
            continue
        without = read([path])
        if without is None or _person(without) != _person(lead):
            continue
        if _without_answers(without) != _without_answers(lead):
            certain.append(path)
        elif (
            taken_path
            and not _is_known(people[taken_path])
            and _has_email_of(fields, read([taken_path]))
        ):
            doubtful.append(path)
    return certain, doubtful


def _objects(event: ParsedEvent) -> dict[str, list[PayloadField]]:
    """The objects of a payload by their paths from the top, or from the item of a list of events.

    Each has the fields that it holds itself.
    """
    root = event.scopes[0].path
    is_item = bool(root) and root[-1].isdigit()
    objects: dict[str, list[PayloadField]] = {}
    for field in event.fields:
        is_inside = is_item and field.path[: len(root)] == root
        steps = written_path(field.path[len(root) :] if is_inside else field.path)
        parent = steps.rpartition(".")[0]
        if parent:
            objects.setdefault(parent, []).append(field)
    return objects


def _target(field: PayloadField) -> str | None:
    """What its own name asks for, whoever's object it stands in."""
    match = match_label(written_path(field.path[-1:]).rpartition(".")[2])
    return match if match and parse_value(match, field.value, Effort()) is not None else None


def _is_person(fields: list[PayloadField]) -> bool:
    targets = set(map(_target, fields))
    return "email" in targets or {"first_name", "last_name"} <= targets or targets >= PERSON


def _is_known(fields: list[PayloadField]) -> bool:
    """Whether the names around them say whose they are: the lead's, or the lead's firm's."""
    return any(_target(one) in PERSONAL and match_path(one.path) in PERSONAL for one in fields)


def _has_email_of(fields: list[PayloadField], lead: Lead | None) -> bool:
    emails = (
        parse_value("email", one.value, Effort()) for one in fields if _target(one) == "email"
    )
    return lead is not None and lead.email is not None and lead.email in emails


def _person(lead: Lead) -> tuple[str | None, str | None]:
    return lead.email, lead.full_name


def _without_answers(lead: Lead) -> Lead:
    return structs.replace(lead, answers={})
