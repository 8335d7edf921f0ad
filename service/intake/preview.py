"""What a request would become: the steps of the endpoint without the ledger and Pipedrive."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
from litestar import Response
from msgspec import UNSET, Struct, UnsetType, field

from service.intake import responses, submissions
from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize_record, process_request
from service.sources.redact import redact_request
from service.sources.request import (
    FieldError,
    FieldReading,
    InboundRequest,
    NormalizationResult,
    Outcome,
    SourceEvent,
)
from service.sources.schema import Source
from service.web import body, origins, pages, problems
from service.web.problems import HttpProblem
from worker.contract import Json, Lead, Raw, Receipt
from worker.delivery.planned_steps import planned_calls
from worker.errors import Unmappable
from worker.lead.plan import build_plan, leave_out
from worker.lead.uploads import Uploads, read_uploads

PREVIEW_REQUEST_ID = "preview"


class PreviewResponse(Struct, frozen=True):
    """The response to the sender. `body` is plain data for JSON, else text; None if empty."""

    status: int
    body: Any = None


class PreviewEvent(Struct, frozen=True):
    """One event: the fields of its lead, and the calls for a person that Pipedrive has not seen.

    `explanation` says how each field of the payload was read, where it was asked for.
    """

    event_id: str | None
    lead: Json | None
    calls: list[Json] = field(default_factory=list)
    explanation: tuple[FieldReading, ...] | UnsetType = UNSET


class Preview(Struct, frozen=True, kw_only=True):
    """`problems` says why there is no lead, and which parts of a lead cannot be written."""

    outcome: Outcome
    response: PreviewResponse
    submissions: list[PreviewEvent] = field(default_factory=list)
    problems: list[FieldError] = field(default_factory=list)


def preview(
    source: Source, request: InboundRequest, now: float, *, explain: bool = False
) -> Preview:
    """Preview a request; `now` in Unix seconds. Ids that only the ledger can give are zeros.

    `explain`: each event says how it was read, and `problems` what had to be guessed of the body.
    """
    try:
        key = _check_head(source, request)
    except HttpProblem as problem:
        return _preview_problem(source, request, problem)
    result = _normalize(source, request, now, explain=explain)
    try:
        response = _respond(source, request, result, key, now)
    except HttpProblem as problem:
        refused = _preview_problem(source, request, problem, result.outcome)
        return msgspec.structs.replace(
            refused,
            submissions=[_preview_event(event, explain=explain) for event in result.events],
            problems=[*refused.problems, *_note_guess(result)],
        )
    if result.outcome is Outcome.HANDSHAKE:
        return Preview(outcome=result.outcome, response=_preview_response(response))
    raw = redact_request(source, request)
    events, event_errors = _preview_events(source, result, now, explain=explain, raw=raw)
    return Preview(
        outcome=result.outcome,
        response=_preview_response(response),
        submissions=events,
        problems=[*result.field_errors, *event_errors, *_note_guess(result)],
    )


def preview_record(source: Source, record: bytes, now: float, *, explain: bool = False) -> Preview:
    """Preview a record from the product's API, for products whose events carry ids only.

    `response` is the response to the event that announced the record. Raises ValueError if the
    product has no such API.
    """
    result = normalize_record(source, record, now, explain=explain)
    response = PreviewResponse(source.reply or ADAPTERS[source.adapter].reply)
    if result.outcome is Outcome.UNREADABLE:
        return Preview(outcome=result.outcome, response=response, problems=result.field_errors)
    events, event_errors = _preview_events(source, result, now, explain=explain)
    return Preview(
        outcome=result.outcome,
        response=response,
        submissions=events,
        problems=[*result.field_errors, *event_errors],
    )


def _check_head(source: Source, request: InboundRequest) -> str | None:
    """Check what the endpoint checks before it reads the body. Returns the Idempotency-Key."""
    if request.method not in ("GET", "POST"):
        raise HttpProblem("method", headers={"Allow": "GET, POST, OPTIONS"})
    if not origins.origin_allowed(source.origins, request.header("origin")):
        raise HttpProblem("origin")
    if request.method == "GET":
        return None
    body.check_body_headers(request, source.max_body)
    if len(request.body) > source.max_body:
        raise body.too_large(source.max_body)
    return submissions.idempotency_key(request)


def _normalize(
    source: Source, request: InboundRequest, now: float, *, explain: bool
) -> NormalizationResult:
    """Normalize as the endpoint does: to the sender, a bug of ours is an unreadable request."""
    try:
        return process_request(source, request, now, explain=explain)
    except Exception as error:
        return NormalizationResult(
            outcome=Outcome.UNREADABLE,
            status=400,
            reason=f"a bug in Leadline: {type(error).__name__}",
        )


def _respond(
    source: Source,
    request: InboundRequest,
    result: NormalizationResult,
    key: str | None,
    now: float,
) -> Response[bytes]:
    """The response to a request that passed the first checks. Raises HttpProblem."""
    if request.method == "GET" or result.outcome is Outcome.HANDSHAKE:
        return responses.product_response(responses.handshake_answer(result), headers={})
    responses.check_storable(source, result)
    key = key or submissions.idempotency_field(result)
    ids = (f"{number:026d}" for number in count())
    items = submissions.build_submissions(
        source,
        request,
        result,
        redact_request(source, request),
        key=key,
        now=now,
        new_id=lambda: next(ids),
    )
    receipts = [Receipt(item.id, item.state, duplicate=False) for item in items]
    return responses.accepted_response(
        source, result, receipts, page=_wants_page(request), headers={}
    )


def _preview_problem(
    source: Source, request: InboundRequest, problem: HttpProblem, outcome: Outcome | None = None
) -> Preview:
    if outcome is None:
        outcome = Outcome.REFUSED if problem.status in (401, 403, 405) else Outcome.UNREADABLE
    responses.add_error_member(source, problem)
    response = problems.problem_response(problem, PREVIEW_REQUEST_ID, page=_wants_page(request))
    return Preview(
        outcome=outcome,
        response=_preview_response(response),
        problems=problem.errors or [FieldError("", problem.reason)],
    )


def _preview_events(
    source: Source,
    result: NormalizationResult,
    now: float,
    *,
    explain: bool,
    raw: Raw | None = None,
) -> tuple[list[PreviewEvent], list[FieldError]]:
    previews: list[PreviewEvent] = []
    errors: list[FieldError] = []
    for number, event in enumerate(submissions.events_of(result)):
        calls, event_errors = _plan_calls(source, event, f"{number:026d}", now, raw)
        previews.append(
            msgspec.structs.replace(_preview_event(event, explain=explain), calls=calls)
        )
        errors += event_errors
    return previews, errors


def _plan_calls(
    source: Source, event: SourceEvent, submission_id: str, now: float, raw: Raw | None
) -> tuple[list[Json], list[FieldError]]:
    """The Pipedrive calls of an event, and why there are none or which parts cannot be written."""
    if event.outcome is not Outcome.LEAD or event.lead is None:
        return [], [FieldError("", event.reason)] if event.reason else []
    try:
        lead_plan = build_plan(
            source.lead_mapping, event.lead, submission_id=submission_id, received_at=now, now=now
        )
    except Unmappable as error:
        return [], [FieldError(error.setting, str(error))]
    uploads = read_uploads(raw) if lead_plan.files else Uploads()
    if uploads.left_out:
        lead_plan = leave_out(lead_plan, event.lead, uploads.left_out)
    calls = planned_calls(lead_plan, uploads.files)
    return calls, [FieldError("", text) for text in lead_plan.left_out]


def _preview_event(event: SourceEvent, *, explain: bool) -> PreviewEvent:
    return PreviewEvent(
        event.event_id,
        _lead_fields(event.lead) if event.lead else None,
        explanation=event.explanation if explain else UNSET,
    )


def _note_guess(result: NormalizationResult) -> list[FieldError]:
    return [FieldError("body", result.guessed)] if result.guessed else []


def _lead_fields(lead: Lead) -> Json:
    """The fields that are set; `utm`, `click_ids`, `answers` and `is_test` always are."""
    return {
        name: msgspec.to_builtins(value)
        for name in lead.__struct_fields__
        if (value := getattr(lead, name)) is not None
    }


def _wants_page(request: InboundRequest) -> bool:
    return pages.prefers_html(request.header("accept") or "")


def _preview_response(response: Response[bytes]) -> PreviewResponse:
    status = response.status_code or responses.ACCEPTED
    if not response.content:
        return PreviewResponse(status)
    if str(response.media_type).partition(";")[0].endswith("json"):
        return PreviewResponse(status, msgspec.json.decode(response.content))
    return PreviewResponse(status, response.content.decode())
