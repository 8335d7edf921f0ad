"""`netlify`: the outgoing webhook of Netlify Forms.

`data` has the fields as they were posted, and the visitor's address, browser and page. What is
beside it (`name`, `first_name`, `summary` in HTML) is Netlify's guess at the same. The same kind of
webhook reports deployments. What a function gets for `submission-created` has all this in
`payload`, beside the `site`.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    no_lead,
    object_at,
    objects_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Path, Tree
from service.sources.schema import VerifySettings

PAYLOAD = "payload"
BOOKKEEPING = frozenset({"ip", "user_agent", "referrer"})


def event(top: Table) -> ParsedEvent | None:
    submission = object_at(top, PAYLOAD)
    if object_at(submission, "data"):
        return _submission(top, submission, (PAYLOAD, "data"))
    if not object_at(top, "data"):
        is_deployment = "deploy_url" in top or "deploy_ssl_url" in top
        return (
            no_lead(top, "a deployment of the site", event_id=text_at(top, "id"))
            if is_deployment
            else None
        )
    return _submission(top, top, ("data",))


def _submission(top: Table, submission: Table, at: Path) -> ParsedEvent:
    data = object_at(submission, "data")
    return event_from_questions(
        top,
        _questions(submission, data),
        at=at,
        lead_fields=drop_empty(
            form_id=text_at(submission, "form_id"),
            form_name=text_at(submission, "form_name"),
            page_url=text_at(data, "referrer") or text_at(submission, "site_url"),
            occurred_at=text_at(submission, "created_at"),
        ),
        event_id=text_at(submission, "id"),
    )


def _questions(submission: Table, data: Table) -> Iterator[FormQuestion]:
    titles = {
        text_at(field, "name"): text_at(field, "title")
        for field in objects_at(submission, "ordered_human_fields")
    }
    for key, value in data.items():
        if key not in BOOKKEEPING:
            yield FormQuestion(key=key, title=titles.get(key), value=_value(value))


def _value(value: Tree) -> Tree:
    """The value; of a file, its address."""
    return text_at(value, "url") or value


def _is_submission(top: Table) -> bool:
    submission = object_at(top, PAYLOAD) or top
    marks = submission.keys() & {"human_fields", "ordered_human_fields", "site_url", "form_name"}
    return len(marks) > 1 and bool(object_at(submission, "data"))


ADAPTER = Adapter(
    name="netlify",
    title="Netlify",
    read=body_reader(event),
    detectors=(by_body(_is_submission, "data beside human_fields, form_name and site_url"),),
    verify=VerifySettings(scheme="jwt", header="X-Webhook-Signature"),
    reply=200,
)
