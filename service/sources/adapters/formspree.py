"""`formspree`: the simple webhook of Formspree.

`submission` has the fields as they were posted, with the time as `_date`; `form` is the form's id.
Submissions have no id. Names with an underscore are options of Formspree itself. `_replyto` is the
Reply-To of the notification: the visitor's address in a form without a field `email`; beside one, a
hidden copy or the address of the form's owner.
https://help.formspree.io/hc/en-us/articles/360015234873-Webhooks
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
    object_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.schema import VerifySettings

REPLY_TO = "_replyto"
# Formspree's own: where to send the browser, whom to copy, its honeypot.
BOOKKEEPING = frozenset({"_date", "_next", "_cc", "_gotcha", "_format", "_language"})


def event(top: Table) -> ParsedEvent | None:
    submission = object_at(top, "submission")
    if not submission:
        return None
    return event_from_questions(
        top,
        _questions(submission),
        at=("submission",),
        lead_fields=drop_empty(
            form_id=text_at(top, "form"), occurred_at=text_at(submission, "_date")
        ),
    )


def _questions(submission: Table) -> Iterator[FormQuestion]:
    has_email = any(key.lower() == "email" and value for key, value in submission.items())
    for key, value in submission.items():
        if key in BOOKKEEPING or (key == REPLY_TO and has_email):
            continue
        yield FormQuestion(key=key, value=value, lead_field="email" if key == REPLY_TO else None)


def _is_submission(top: Table) -> bool:
    return text_at(top, "form") is not None and "_date" in object_at(top, "submission")


ADAPTER = Adapter(
    name="formspree",
    title="Formspree",
    read=body_reader(event),
    detectors=(
        by_header("formspree-signature"),
        by_body(_is_submission, "form beside submission with its _date"),
    ),
    verify=VerifySettings(
        scheme="hmac",
        header="Formspree-Signature",
        list_prefixes="t=,v1=",
        signed="{timestamp}.{body}",
    ),
    reply=200,
)
