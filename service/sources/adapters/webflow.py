"""`webflow`: the form_submission webhook of Webflow, version 2 (an envelope) and version 1 (flat).

Webflow counts anything but 200 as a failure: it retries three times and then switches the webhook
off. Webhooks made in the dashboard are not signed. A `.` in a field's name arrives as full-width
`．`; the source file may use either.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, by_header
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    no_lead,
    object_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.schema import VerifySettings

FULL_WIDTH_DOT = "\uff0e"


def event(top: Table) -> ParsedEvent | None:
    kind = text_at(top, "triggerType")
    at = ("payload", "data") if object_at(top, "payload") else ("data",)
    submission = object_at(top, *at[:-1])
    if kind not in (None, "form_submission"):
        reason = f"a {kind} event: only form_submission is a form"
        return no_lead(top, reason, event_id=_other_id(kind, submission))
    if not object_at(submission, "data"):
        return None
    return event_from_questions(
        top,
        _questions(object_at(submission, "data")),
        at=at,
        lead_fields=drop_empty(
            form_name=text_at(submission, "name"),
            form_id=text_at(submission, "formId"),
            page_url=text_at(submission, "pageUrl"),
            occurred_at=text_at(submission, "submittedAt") or text_at(submission, "d"),
        ),
        event_id=_submission_id(submission),
    )


def _submission_id(submission: Table) -> str | None:
    return text_at(submission, "id") or text_at(submission, "_id")


def _other_id(kind: str | None, submission: Table) -> str | None:
    """The id of another kind of event; prefixed, as it may be the id of another thing."""
    id_ = _submission_id(submission)
    return f"{kind}:{id_}" if id_ else None


def _questions(data: Table) -> Iterator[FormQuestion]:
    for key, value in data.items():
        yield FormQuestion(
            key=key,
            value=value,
            aliases=(key.replace(FULL_WIDTH_DOT, "."),) if FULL_WIDTH_DOT in key else (),
        )


def _is_version_2(top: Table) -> bool:
    return text_at(top, "triggerType") is not None and bool(object_at(top, "payload"))


def _is_version_1(top: Table) -> bool:
    return {"site", "data", "_id", "d"} <= top.keys() and bool(object_at(top, "data"))


ADAPTER = Adapter(
    name="webflow",
    title="Webflow",
    read=body_reader(event),
    detectors=(
        by_header("x-webflow-signature"),
        by_body(_is_version_2, "triggerType with a payload"),
        by_body(_is_version_1, "site, data and d beside each other"),
    ),
    verify=VerifySettings(
        scheme="hmac",
        header="X-Webflow-Signature",
        timestamp_header="X-Webflow-Timestamp",
        signed="{timestamp}:{body}",
    ),
    reply=200,
)
