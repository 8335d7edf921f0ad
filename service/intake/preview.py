"""What a request would become, without storing or sending anything: the door's own steps, short of
the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
from litestar import Response
from msgspec import Struct, field

from service.intake import responses, submissions
from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize_record, process_request
from service.sources.redact import redact_request
from service.sources.request import (
    FieldError,
    InboundRequest,
    NormalizationResult,
    Outcome,
    SourceEvent,
)
from service.sources.schema import Source
from service.web import body, origins, pages, problems
from service.web.problems import HttpProblem
from worker.contract import Json, Lead, Receipt
from worker.delivery.preview import planned_calls
from worker.errors import Unmappable
from worker.lead.plan import plan
from worker.lead.settings import SourceWriting

INSTANCE = "preview"
"""The request id of a preview."""


class Answered(Struct, frozen=True):
    """The answer the sender would get. `body` is JSON where it would be JSON, else text; None for
    an empty one.
    """

    status: int
    body: Any = None


class Previewed(Struct, frozen=True):
    """One event: the canonical lead (without what is absent) and the Pipedrive calls for somebody
    who is new there.
    """

    event_id: str | None
    lead: Json | None
    calls: list[Json] = field(default_factory=list)


class Preview(Struct, frozen=True, kw_only=True):
    """`problems` says why there is no lead, and what of a lead could not be written."""

    outcome: Outcome
    response: Answered
    submissions: list[Previewed] = field(default_factory=list)
    problems: list[FieldError] = field(default_factory=list)


def preview(source: Source, request: InboundRequest, now: float) -> Preview:
    """The preview of any request; `now` in Unix seconds. Ids that only the ledger gives are
    noughts.
    """
    try:
        key = _enter(source, request)
    except HttpProblem as problem:
        return _refused(source, request, problem)
    reading = _judged(source, request, now)
    try:
        response = _answer(source, request, reading, key, now)
    except HttpProblem as problem:
        refused = _refused(source, request, problem, reading.outcome)
        return msgspec.structs.replace(
            refused, submissions=[_bare(event) for event in reading.events]
        )
    if reading.outcome is Outcome.HANDSHAKE:
        return Preview(outcome=reading.outcome, response=_shown(response))
    events, said = _events(source, reading, now)
    return Preview(
        outcome=reading.outcome,
        response=_shown(response),
        submissions=events,
        problems=[*reading.problems, *said],
    )


def preview_record(source: Source, record: bytes, now: float) -> Preview:
    """The preview of a record as the product's API answers it, for events that tell ids alone.

    `response` is what the event itself was answered when it came. Raises ValueError if the product
    has no records.
    """
    reading = normalize_record(source, record, now)
    response = Answered(source.reply or ADAPTERS[source.adapter].reply)
    if reading.outcome is Outcome.UNREADABLE:
        return Preview(outcome=reading.outcome, response=response, problems=reading.problems)
    events, said = _events(source, reading, now)
    return Preview(
        outcome=reading.outcome,
        response=response,
        submissions=events,
        problems=[*reading.problems, *said],
    )


def _enter(source: Source, request: InboundRequest) -> str | None:
    """What the door refuses before it reads; the Idempotency-Key. Raises HttpProblem."""
    if request.method not in ("GET", "POST"):
        raise HttpProblem("method", headers={"Allow": "GET, POST, OPTIONS"})
    if not origins.allows(source.origins, request.header("origin")):
        raise HttpProblem("origin")
    if request.method == "GET":
        return None
    body.check_head(request, source.max_body)
    if len(request.body) > source.max_body:
        raise body.too_large(source.max_body)
    return submissions.idempotency_key(request)


def _judged(source: Source, request: InboundRequest, now: float) -> NormalizationResult:
    """As at the door: what we cannot cope with is unreadable."""
    try:
        return process_request(source, request, now)
    except Exception as error:
        return NormalizationResult(
            outcome=Outcome.UNREADABLE, status=400, why=f"a fault of ours: {type(error).__name__}"
        )


def _answer(
    source: Source,
    request: InboundRequest,
    reading: NormalizationResult,
    key: str | None,
    now: float,
) -> Response[bytes]:
    """Raises HttpProblem."""
    if request.method == "GET" or reading.outcome is Outcome.HANDSHAKE:
        return responses.product(responses.handshake(reading), headers={})
    responses.check_reading(source, reading)
    ids = (f"{number:026d}" for number in count())
    items = submissions.submissions(
        source,
        request,
        reading,
        redact_request(source, request),
        key=key,
        now=now,
        new_id=lambda: next(ids),
    )
    receipts = [Receipt(item.id, item.state, duplicate=False) for item in items]
    return responses.accepted(source, reading, receipts, page=_page(request), headers={})


def _refused(
    source: Source, request: InboundRequest, problem: HttpProblem, outcome: Outcome | None = None
) -> Preview:
    if outcome is None:
        outcome = Outcome.REFUSED if problem.status in (401, 403, 405) else Outcome.UNREADABLE
    responses.in_product_terms(source, problem)
    answer = problems.answer(problem, INSTANCE, page=_page(request))
    return Preview(
        outcome=outcome,
        response=_shown(answer),
        problems=problem.errors or [FieldError("", problem.why)],
    )


def _events(
    source: Source, reading: NormalizationResult, now: float
) -> tuple[list[Previewed], list[FieldError]]:
    found, said = [], []
    for number, event in enumerate(submissions.events_of(reading)):
        calls, faults = _calls(source, event, f"{number:026d}", now)
        found.append(msgspec.structs.replace(_bare(event), calls=calls))
        said += faults
    return found, said


def _calls(
    source: Source, event: SourceEvent, submission_id: str, now: float
) -> tuple[list[Json], list[FieldError]]:
    """The calls of an event that is a lead, and what could not be written; of any other why it is
    none.
    """
    if event.outcome is not Outcome.LEAD or event.lead is None:
        return [], [FieldError("", event.why)] if event.why else []
    writing = SourceWriting(source.name, source.lead, source.rules, source.line)
    try:
        made = plan(writing, event.lead, submission_id=submission_id, received_at=now, now=now)
    except Unmappable as error:
        return [], [FieldError(error.setting, str(error))]
    return planned_calls(made), [FieldError("", sentence) for sentence in made.left_out]


def _bare(event: SourceEvent) -> Previewed:
    return Previewed(event.event_id, _lead(event.lead) if event.lead else None)


def _lead(lead: Lead) -> Json:
    """Texts that are there; `utm`, `click_ids`, `answers` and `is_test` always."""
    return dict(_given(lead))


def _given(lead: Lead) -> Iterator[tuple[str, Any]]:
    for name in lead.__struct_fields__:
        if (value := getattr(lead, name)) is not None:
            yield name, msgspec.to_builtins(value)


def _page(request: InboundRequest) -> bool:
    return pages.prefers_html(request.header("accept") or "")


def _shown(response: Response[bytes]) -> Answered:
    status = response.status_code or responses.ACCEPTED
    if not response.content:
        return Answered(status)
    if str(response.media_type).partition(";")[0].endswith("json"):
        return Answered(status, msgspec.json.decode(response.content))
    return Answered(status, response.content.decode())
