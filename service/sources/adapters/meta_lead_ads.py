"""`meta-lead-ads`: the `leadgen` webhook of a Facebook page or Instagram account, and its leads.

A notification carries ids only, as numbers or as text, and may hold several changes of several
kinds; the Graph API has the leads. Anything but 200 is retried for 36 hours. Test leads have no
flag: their answers are placeholders.
https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving/
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from service.sources.adapters.base import Adapter, RecordApi, by_body, by_handshake, by_record
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    event_from_question_list,
    event_needing_fetch,
    extract_fields,
    no_lead,
    object_at,
    objects_at,
    parse_record_id,
    text_at,
    with_fields,
)
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Path, Tree, UnreadableBody, text_of
from service.sources.payload.unwrap import parse_events
from service.sources.request import CustomResponse, InboundRequest, NormalizationResult, Outcome
from service.sources.schema import Source, VerifySettings
from service.sources.verification.common import any_equal, query_value

LEAD = "leadgen"
NOTIFIED = FieldMap(
    fields={"form_id": "form_id", "created_time": "occurred_at"}, ignored=("leadgen_id",)
)
# Meta's own questions; the others are named by whoever made the form.
FIELDS = {
    "email": "email", "work_email": "email", "phone_number": "phone", "work_phone_number": "phone",
    "full_name": "name", "first_name": "first_name", "last_name": "last_name",
    "company_name": "company", "job_title": "job_title", "country": "country", "website": "website",
}  # fmt: skip
RECORD = FieldMap(
    fields={"form_id": "form_id", "created_time": "occurred_at"},
    ignored=("id", "field_data", "custom_disclaimer_responses", "is_organic"),
)
LEAD_FIELDS = "id,created_time,form_id,field_data,custom_disclaimer_responses,is_organic,platform"
# These need a permission for ads in addition to the one for leads.
AD_FIELDS = "ad_id,ad_name,adset_id,adset_name,campaign_id,campaign_name"
TEST_ADDRESSES = frozenset({"test@fb.com", "test@meta.com"})
TEST_ANSWER = "<test lead: dummy data for"


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    """One event for each lead; a request without leads is one event that makes none."""
    top = decode_body(request)
    if source.read.root or not isinstance(top, dict) or "entry" not in top:
        return parse_events(top, source)
    leads = [lead for path, change in _changes(top) if (lead := _notified(top, path, change))]
    kinds = sorted({text_at(change, "field") or "unnamed" for _, change in _changes(top)})
    return leads or [no_lead(top, f"no lead among its changes ({', '.join(kinds)[:100]})")]


def _changes(top: Table) -> Iterator[tuple[Path, Table]]:
    for number, entry in enumerate(objects_at(top, "entry")):
        for place, change in enumerate(objects_at(entry, "changes")):
            yield ("entry", str(number), "changes", str(place), "value"), change


def _notified(top: Table, path: Path, change: Table) -> ParsedEvent | None:
    if text_at(change, "field") != LEAD:
        return None
    # An `ad_id` of 0 means no ad.
    ids = {key: id_ for key, id_ in object_at(change, "value").items() if text_of(id_) != "0"}
    lead = parse_record_id(ids.get("leadgen_id"))
    if lead is None:
        return no_lead(top, "a lead without an id that could be read")
    reason = "ids only: the lead is read from Meta"
    return event_needing_fetch(top, ids, path, NOTIFIED, record=lead, event_id=lead, reason=reason)


def read_record(record: Tree, source: Source) -> ParsedEvent:  # noqa: ARG001 -- one signature for all
    if not isinstance(record, dict) or "field_data" not in record:
        raise UnreadableBody("not a Meta lead: field_data is missing")
    lead = text_at(record, "id")
    payload = event_from_question_list(
        record, _questions(record), at=("field_data",), event_id=lead, is_test=is_test(record)
    )
    return with_fields(payload, extract_fields(record, RECORD))


def _questions(record: Table) -> Iterator[FormQuestion]:
    for number, one in enumerate(objects_at(record, "field_data")):
        name, values = text_at(one, "name") or str(number), one.get("values")
        value = values[0] if isinstance(values, list) and len(values) == 1 else values
        yield FormQuestion(key=name, value=value, lead_field=FIELDS.get(name))
    for number, box in enumerate(objects_at(record, "custom_disclaimer_responses")):
        yield FormQuestion(
            key=text_at(box, "checkbox_key") or f"disclaimer {number}",
            value=box.get("is_checked"),
            lead_field="consent",
        )


def is_test(record: Table) -> bool:
    """Whether the answers hold placeholders of the Lead Ads Testing Tool."""
    answers = [text_of(one.get("values")) or "" for one in objects_at(record, "field_data")]
    return any(
        answer.startswith(TEST_ANSWER) or answer.lower() in TEST_ADDRESSES for answer in answers
    )


def handshake(request: InboundRequest, source: Source) -> NormalizationResult:
    """The bare challenge for whoever knows the verify token; nothing is echoed to anybody else."""
    mode, token, challenge = (
        query_value(request.query, f"hub.{name}") for name in ("mode", "verify_token", "challenge")
    )
    if mode is None and token is None:
        return NormalizationResult(outcome=Outcome.REFUSED, status=405)
    expected = [source.challenge] if source.challenge else source.secrets
    is_known = any_equal([token or b""], [secret.raw for secret in expected])
    if mode != b"subscribe" or not challenge or not is_known:
        hint = "" if source.challenge else ", and no challenge_env is set"
        return NormalizationResult(
            outcome=Outcome.REFUSED,
            status=403,
            detail="The verify token is missing or wrong.",
            reason=f"the verify token is wrong{hint}",
        )
    return NormalizationResult(
        outcome=Outcome.HANDSHAKE,
        status=200,
        response=CustomResponse(200, challenge.decode("utf-8", "replace"), "text/plain"),
    )


def targets(lead: str, source: Source) -> list[str]:  # noqa: ARG001 -- one signature for all
    return [
        f"/{quote(lead)}?{urlencode({'fields': fields}, safe=',')}"
        for fields in (f"{LEAD_FIELDS},{AD_FIELDS}", LEAD_FIELDS)
    ]


def _is_notification(top: Table) -> bool:
    return any("changes" in entry for entry in objects_at(top, "entry"))


def _is_record(top: Table) -> bool:
    answers = top.get("field_data")
    return isinstance(answers, list) and all(
        isinstance(one, dict) and {"name", "values"} <= one.keys() for one in answers
    )


ADAPTER = Adapter(
    name="meta-lead-ads",
    title="Meta Lead Ads",
    read=read,
    detectors=(
        by_body(_is_notification, "entry with its changes"),
        by_record(_is_record, "field_data: a lead as the Graph API answers it"),
        by_handshake("hub.mode", "hub.challenge"),
    ),
    verify=VerifySettings(scheme="hmac", header="X-Hub-Signature-256", prefix="sha256="),
    # "Changes are aggregated and sent in a batch with a maximum of 1000 updates":
    # https://developers.facebook.com/docs/graph-api/webhooks/getting-started
    max_events=1000,
    reply=200,
    handshake=handshake,
    has_verify_token=True,
    record_api=RecordApi(
        base_url="https://graph.facebook.com/v23.0",
        targets=targets,
        read=read_record,
        token_env="META_PAGE_TOKEN",
    ),
)
