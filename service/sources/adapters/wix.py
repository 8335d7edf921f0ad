"""`wix`: a form's submission, as the webhook action of a Wix automation sends it.

`data` has the answers twice: in `submissions` under the labels that people read, and one by one as
`field:<name>_<four letters>`. `contact` is the contact that Wix made of the submission. Other
triggers send other data, which is read like any JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    object_at,
    objects_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent

PREFIX = "field:"
_SUFFIX = re.compile(r"_[0-9a-f]{4}$", re.ASCII)


def event(top: Table) -> ParsedEvent | None:
    at: tuple[str, ...] = ("data",) if object_at(top, "data") else ()
    data = object_at(top, *at)
    if not _is_submission(data):
        return None
    contact = object_at(data, "contact")
    phone = next((text_at(one, "e164Phone") for one in objects_at(contact, "phones")), None)
    return event_from_questions(
        top,
        _labelled(data) if objects_at(data, "submissions") else _named(data),
        at=at,
        lead_fields=drop_empty(
            first_name=text_at(contact, "name", "first"),
            last_name=text_at(contact, "name", "last"),
            email=text_at(contact, "email"),
            phone=phone or text_at(contact, "phone"),
            company=text_at(contact, "company"),
            job_title=text_at(contact, "jobTitle"),
            form_id=text_at(data, "formId"),
            form_name=text_at(data, "formName"),
            occurred_at=text_at(data, "submissionTime"),
        ),
        event_id=text_at(data, "submissionId"),
    )


def _labelled(data: Table) -> Iterator[FormQuestion]:
    for number, one in enumerate(objects_at(data, "submissions")):
        label = text_at(one, "label")
        yield FormQuestion(key=label or str(number), value=one.get("value"))


def _named(data: Table) -> Iterator[FormQuestion]:
    for key, value in data.items():
        if key.startswith(PREFIX):
            name = key.removeprefix(PREFIX)
            yield FormQuestion(key=key, title=_SUFFIX.sub("", name), value=value)


def _is_submission(data: Table) -> bool:
    has_answers = bool(objects_at(data, "submissions")) or any(
        key.startswith(PREFIX) for key in data
    )
    return has_answers and bool(data.keys() & {"formName", "formId", "submissionTime"})


ADAPTER = Adapter(
    name="wix",
    title="Wix",
    read=body_reader(event),
    detectors=(
        by_body(
            lambda top: _is_submission(object_at(top, "data") or top),
            "submissions or field:… beside formName and submissionTime",
        ),
    ),
    reply=200,
)
