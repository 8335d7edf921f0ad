"""`linkedin`: the Lead Sync notifications of LinkedIn, and the response to a lead form that its API
tells of them.

A notification holds ids alone, comes at least once, and tells deletions too. LinkedIn asks every
two hours whether the endpoint can sign: a wrong or late answer three times blocks it.
https://learn.microsoft.com/linkedin/marketing/lead-sync/leadsync
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from urllib.parse import quote

from service.sources.adapters.base import Adapter, Records
from service.sources.adapters.questions import (
    Question,
    Table,
    Words,
    ids_only,
    listed,
    moment,
    no_lead,
    only_known,
    reader,
    record_id,
    step,
    table,
    tables,
    text,
    told,
    with_told,
)
from service.sources.payload.event import Payload
from service.sources.payload.tree import Tree, Unreadable, text_of
from service.sources.request import Answer, Outcome, Reading, Request
from service.sources.schema import Source, Verify
from service.sources.verification.common import query_value

CREATED = "CREATED"
NOTIFIED = Words(
    fields={"leadGenForm": "form_id", "occurredAt": "occurred_at"}, left_out=("type", "leadAction")
)
FIELDS = {
    "FIRST_NAME": "first_name", "LAST_NAME": "last_name", "EMAIL": "email", "WORK_EMAIL": "email",
    "PHONE_NUMBER": "phone",
    "WORK_PHONE_NUMBER": "phone", "COMPANY_NAME": "company", "JOB_TITLE": "job_title",
    "COUNTRY": "country",
}  # fmt: skip
"""LinkedIn's own questions by their `predefinedField`."""
RECORD = Words(
    left_out=(
        "id",
        "form",
        "formResponse",
        "submittedAt",
        "testLead",
        "submitter",
        "owner",
        "versionedLeadGenFormUrn",
    )
)
TOLD_OF_FORM = "form:(hiddenFields,creationLocale,name,id,content)"
TOLD = "id,submittedAt,testLead,leadType,versionedLeadGenFormUrn,ownerInfo,associatedEntityInfo,leadMetadataInfo,formResponse"
VERSION = "202606"
"""Of the API, as a year and a month; LinkedIn keeps each for a year at least. `fetch.version` names
another.
"""
_UUID4 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)


def event(top: Table) -> Payload | None:
    urn, action = text(top, "leadGenFormResponse"), text(top, "leadAction")
    if urn is None:
        return None
    if action != CREATED:
        # With the id of the response alone: what ends a lead is not the twin of what began it.
        return no_lead(top, f"leadAction is {action or 'missing'}", event_id=urn)
    response = record_id(urn.rpartition(":")[2])
    if response is None:
        return no_lead(top, "the response has no id that could be read", event_id=urn)
    why = "ids only: the answers are read from LinkedIn"
    return ids_only(top, top, (), NOTIFIED, record=response, event_id=f"{urn}:{CREATED}", why=why)


def read_record(record: Tree, source: Source) -> Payload:  # noqa: ARG001 -- one signature for all
    if not isinstance(record, dict) or not table(record, "formResponse"):
        raise Unreadable("no response to a lead form: formResponse is missing")
    consents = [one.get("accepted") for one in tables(record, "formResponse", "consentResponses")]
    payload = listed(
        record,
        _questions(record),
        at=("formResponse", "answers"),
        known=only_known(
            form_id=text(record, "versionedLeadGenFormUrn") or text(record, "form", "id"),
            form_name=text(record, "form", "name"),
            occurred_at=moment(record.get("submittedAt")),
            consent=all(one is True for one in consents) if consents else None,
        ),
        event_id=text(record, "id"),
        is_test=record.get("testLead") is True,
    )
    return with_told(payload, told(record, RECORD))


def _questions(record: Table) -> Iterator[Question]:
    forms = {text(one, "questionId"): one for one in tables(record, "form", "content", "questions")}
    for number, answer in enumerate(tables(record, "formResponse", "answers")):
        key = text(answer, "questionId")
        question = forms.get(key) or {}
        name = text(question, "name") or text(answer, "name")
        kind = text(question, "predefinedField") or text(answer, "predefinedField")
        yield Question(
            key=key or str(number),
            title=_localized(question.get("question")) or name or kind,
            names=tuple(one for one in (name, kind) if one),
            value=_value(table(answer, "answerDetails"), question),
            field=FIELDS.get(kind or ""),
        )
    for hidden in tables(record, "form", "hiddenFields"):
        if key := text(hidden, "name"):
            yield Question(key=key, value=hidden.get("value"))


def _value(details: Table, question: Table) -> Tree:
    """The text that was written, or the labels of the options that were chosen."""
    if written := table(details, "textQuestionAnswer"):
        return written.get("answer")
    chosen = step(details, "multipleChoiceAnswer", "options")
    if not isinstance(chosen, list):
        return details or None
    options = tables(question, "questionDetails", "multipleChoiceQuestionDetails", "options")
    labels = {text(option, "id"): _localized(option.get("text")) for option in options}
    found = [labels.get(text_of(one)) or one for one in chosen]
    return found[0] if len(found) == 1 else found


def _localized(value: Tree) -> str | None:
    """The first of a text's languages: a form is answered in one."""
    return next(
        (found for key in table(value, "localized") if (found := text(value, "localized", key))),
        None,
    )


def handshake(request: Request, source: Source) -> Reading:
    """Signs what LinkedIn sends, a random UUID and nothing else: else anybody could have a body of
    theirs signed here.
    """
    sent = query_value(request.query, "challengeCode")
    if sent is None:
        return Reading(outcome=Outcome.REFUSED, status=405)
    code = sent.decode("ascii", "replace")
    if not source.secrets or not _UUID4.fullmatch(code):
        why = "challengeCode is no type-4 UUID" if source.secrets else "no secret is set"
        return Reading(
            outcome=Outcome.REFUSED, status=403, detail="This challenge is not answered.", why=why
        )
    signed = hmac.digest(source.secrets[0].raw, code.encode(), "sha256").hex()
    return Reading(
        outcome=Outcome.HANDSHAKE,
        status=200,
        answer=Answer(200, {"challengeCode": code, "challengeResponse": signed}),
    )


def targets(response: str, source: Source) -> list[str]:  # noqa: ARG001 -- one signature for all
    return [f"/leadFormResponses/{quote(response)}?fields={TOLD},{TOLD_OF_FORM}"]


ADAPTER = Adapter(
    name="linkedin",
    read=reader(event),
    verify=Verify(scheme="hmac", header="X-LI-Signature", signed="hmacsha256={body}"),
    reply=200,
    handshake=handshake,
    records=Records(
        base_url="https://api.linkedin.com/rest",
        targets=targets,
        read=read_record,
        headers={"LinkedIn-Version": VERSION, "X-Restli-Protocol-Version": "2.0.0"},
        version_header="LinkedIn-Version",
    ),
)
