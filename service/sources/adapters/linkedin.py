"""`linkedin`: Lead Sync notifications, and the lead form responses that its API returns.

A notification carries ids only, comes at least once, and reports deletions too. LinkedIn checks
every two hours that the endpoint can sign: three wrong or late answers block it.
https://learn.microsoft.com/linkedin/marketing/lead-sync/leadsync
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from urllib.parse import quote

from service.sources.adapters.base import (
    Adapter,
    RecordApi,
    by_body,
    by_handshake,
    by_header,
    by_record,
    has_keys,
)
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_question_list,
    event_needing_fetch,
    extract_fields,
    no_lead,
    object_at,
    objects_at,
    parse_record_id,
    text_at,
    to_iso_time,
    value_at,
    with_fields,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree, UnreadableBody, text_of
from service.sources.request import CustomResponse, InboundRequest, NormalizationResult, Outcome
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import query_value

CREATED = "CREATED"
NOTIFIED = FieldMap(
    fields={"leadGenForm": "form_id", "occurredAt": "occurred_at"}, ignored=("type", "leadAction")
)
# LinkedIn's own questions, by their `predefinedField`.
FIELDS = {
    "FIRST_NAME": "first_name", "LAST_NAME": "last_name", "EMAIL": "email", "WORK_EMAIL": "email",
    "PHONE_NUMBER": "phone", "WORK_PHONE_NUMBER": "phone", "COMPANY_NAME": "company",
    "JOB_TITLE": "job_title", "COUNTRY": "country",
}  # fmt: skip
RECORD = FieldMap(
    ignored=(
        "id", "form", "formResponse", "submittedAt", "testLead", "submitter", "owner",
        "versionedLeadGenFormUrn",
    )
)  # fmt: skip
REQUESTED_FIELDS = (
    "id,submittedAt,testLead,leadType,versionedLeadGenFormUrn,ownerInfo,associatedEntityInfo,"
    "leadMetadataInfo,formResponse,form:(hiddenFields,creationLocale,name,id,content)"
)
# The API's version, a year and a month; LinkedIn supports each for at least a year. `fetch.version`
# overrides it.
API_VERSION = "202606"
_UUID4 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)


def event(top: Table) -> ParsedEvent | None:
    urn, action = text_at(top, "leadGenFormResponse"), text_at(top, "leadAction")
    if urn is None:
        return None
    if action != CREATED:
        # The id of the response alone, so that a deletion is no duplicate of the creation.
        return no_lead(top, f"leadAction is {action or 'missing'}", event_id=urn)
    response = parse_record_id(urn.rpartition(":")[2])
    if response is None:
        return no_lead(top, "the response has no id that could be read", event_id=urn)
    reason = "ids only: the answers are read from LinkedIn"
    return event_needing_fetch(
        top, top, (), NOTIFIED, record=response, event_id=f"{urn}:{CREATED}", reason=reason
    )


def read_record(record: Tree, source: Source) -> ParsedEvent:  # noqa: ARG001 -- one signature for all
    if not isinstance(record, dict) or not object_at(record, "formResponse"):
        raise UnreadableBody("no response to a lead form: formResponse is missing")
    consents = [
        one.get("accepted") for one in objects_at(record, "formResponse", "consentResponses")
    ]
    payload = event_from_question_list(
        record,
        _questions(record),
        at=("formResponse", "answers"),
        lead_fields=drop_empty(
            form_id=text_at(record, "versionedLeadGenFormUrn") or text_at(record, "form", "id"),
            form_name=text_at(record, "form", "name"),
            occurred_at=to_iso_time(record.get("submittedAt")),
            consent=all(one is True for one in consents) if consents else None,
        ),
        event_id=text_at(record, "id"),
        is_test=record.get("testLead") is True,
    )
    return with_fields(payload, extract_fields(record, RECORD))


def _questions(record: Table) -> Iterator[FormQuestion]:
    forms = {
        text_at(one, "questionId"): one
        for one in objects_at(record, "form", "content", "questions")
    }
    for number, answer in enumerate(objects_at(record, "formResponse", "answers")):
        key = text_at(answer, "questionId")
        question = forms.get(key) or {}
        name = text_at(question, "name") or text_at(answer, "name")
        kind = text_at(question, "predefinedField") or text_at(answer, "predefinedField")
        yield FormQuestion(
            key=key or str(number),
            title=_localized(question.get("question")) or name or kind,
            aliases=tuple(one for one in (name, kind) if one),
            value=_value(object_at(answer, "answerDetails"), question),
            lead_field=FIELDS.get(kind or ""),
        )
    for hidden in objects_at(record, "form", "hiddenFields"):
        if key := text_at(hidden, "name"):
            yield FormQuestion(key=key, value=hidden.get("value"))


def _value(details: Table, question: Table) -> Tree:
    """The text that was entered, or the labels of the options that were chosen."""
    if text_answer := object_at(details, "textQuestionAnswer"):
        return text_answer.get("answer")
    chosen = value_at(details, "multipleChoiceAnswer", "options")
    if not isinstance(chosen, list):
        return details or None
    options = objects_at(question, "questionDetails", "multipleChoiceQuestionDetails", "options")
    labels = {text_at(option, "id"): _localized(option.get("text")) for option in options}
    chosen_labels = [labels.get(text_of(one)) or one for one in chosen]
    return chosen_labels[0] if len(chosen_labels) == 1 else chosen_labels


def _localized(value: Tree) -> str | None:
    """The text in the first of its languages: a form is answered in one."""
    texts = (text_at(value, "localized", language) for language in object_at(value, "localized"))
    return next(filter(None, texts), None)


def handshake(request: InboundRequest, source: Source) -> NormalizationResult:
    """Signs the challenge if it is a random UUID, as LinkedIn sends it, and nothing else.

    Otherwise anybody could have a request body signed here.
    """
    challenge = query_value(request.query, "challengeCode")
    if challenge is None:
        return NormalizationResult(outcome=Outcome.REFUSED, status=405)
    code = challenge.decode("ascii", "replace")
    if not source.secrets or not _UUID4.fullmatch(code):
        reason = "challengeCode is not a version-4 UUID" if source.secrets else "no secret is set"
        return NormalizationResult(
            outcome=Outcome.REFUSED,
            status=403,
            detail="This challenge is not answered.",
            reason=reason,
        )
    signature = hmac.digest(source.secrets[0].raw, code.encode(), "sha256").hex()
    return NormalizationResult(
        outcome=Outcome.HANDSHAKE,
        status=200,
        response=CustomResponse(200, {"challengeCode": code, "challengeResponse": signature}),
    )


def targets(response: str, source: Source) -> list[str]:  # noqa: ARG001 -- one signature for all
    return [f"/leadFormResponses/{quote(response)}?fields={REQUESTED_FIELDS}"]


ADAPTER = Adapter(
    name="linkedin",
    title="LinkedIn",
    read=body_reader(event),
    detectors=(
        by_header("x-li-signature"),
        by_body(has_keys("leadGenFormResponse"), "leadGenFormResponse"),
        by_record(has_keys("formResponse"), "formResponse: a response as the API answers it"),
        by_handshake("challengeCode"),
    ),
    verify=VerifySettings(scheme="hmac", header="X-LI-Signature", signed="hmacsha256={body}"),
    reply=200,
    handshake=handshake,
    record_api=RecordApi(
        base_url="https://api.linkedin.com/rest",
        targets=targets,
        read=read_record,
        token_env="LINKEDIN_ACCESS_TOKEN",
        headers={"LinkedIn-Version": API_VERSION, "X-Restli-Protocol-Version": "2.0.0"},
        version_header="LinkedIn-Version",
    ),
)
