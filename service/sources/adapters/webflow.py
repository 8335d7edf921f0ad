"""`webflow`: the form_submission webhook of Webflow, version 2 (an envelope) and version 1 (flat).

Anything but 200 is a failure to Webflow: it tries three times more and then switches the hook off.
Hooks made in the dashboard are not signed. A `.` in a field's name comes as a full-width `．`; the
source file may write either.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import (
    Question,
    Table,
    asked,
    no_lead,
    only_known,
    reader,
    table,
    text,
)
from service.sources.payload.event import Payload
from service.sources.schema import Verify

FULL_WIDTH_DOT = "\uff0e"


def event(top: Table) -> Payload | None:
    kind = text(top, "triggerType")
    at = ("payload", "data") if table(top, "payload") else ("data",)
    submission = table(top, *at[:-1])
    if kind not in (None, "form_submission"):
        return no_lead(
            top,
            f"a {kind} event: only form_submission is a form",
            event_id=joined_id(kind, submission),
        )
    if not table(submission, "data"):
        return None
    return asked(
        top,
        _questions(table(submission, "data")),
        at=at,
        known=only_known(
            form_name=text(submission, "name"),
            form_id=text(submission, "formId"),
            page_url=text(submission, "pageUrl"),
            occurred_at=text(submission, "submittedAt") or text(submission, "d"),
        ),
        event_id=submission_id(submission),
    )


def submission_id(submission: Table) -> str | None:
    return text(submission, "id") or text(submission, "_id")


def joined_id(kind: str | None, submission: Table) -> str | None:
    """Events of other kinds may carry ids of other things."""
    found = submission_id(submission)
    return f"{kind}:{found}" if found else None


def _questions(data: Table) -> Iterator[Question]:
    for key, value in data.items():
        yield Question(
            key=key,
            value=value,
            names=(key.replace(FULL_WIDTH_DOT, "."),) if FULL_WIDTH_DOT in key else (),
        )


ADAPTER = Adapter(
    name="webflow",
    read=reader(event),
    verify=Verify(
        scheme="hmac",
        header="X-Webflow-Signature",
        timestamp_header="X-Webflow-Timestamp",
        signed="{timestamp}:{body}",
    ),
    reply=200,
)
