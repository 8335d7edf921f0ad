"""Responses to senders: generic, a product's own, or a page; and which requests are refused.

The endpoint and the preview share this module, so that they always agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Response

from service.intake import submissions
from service.sources.adapters.registry import ADAPTERS
from service.sources.request import CustomResponse, NormalizationResult, Outcome
from service.sources.schema import Source
from service.web import pages
from service.web.origins import redirect_allowed
from service.web.problems import HttpProblem
from worker.contract import STATES, Receipt, State

ACCEPTED = 202
SUBMIT_METHODS = "POST, OPTIONS"
_KIND_BY_STATUS = {413: "too-large", 415: "media-type", 422: "too-many-events"}
_BODILESS = frozenset({204, 205, 304})
_SAFE_IN_URL = "%/:?#[]@!$&'()*+,;=-._~"


def public_state(state: State) -> State:
    """The state that the public may see: a spammer must not learn about the quarantine."""
    return STATES[state].reported_as or state


def status_url(submission_id: str) -> str:
    return f"/submissions/{submission_id}"


def accepted_response(
    source: Source,
    result: NormalizationResult,
    receipts: Sequence[Receipt],
    *,
    page: bool,
    headers: Mapping[str, str],
) -> Response[bytes]:
    """The response to a stored request. `page` is True for a browser that navigates."""
    replayed = all(receipt.duplicate for receipt in receipts)
    extra = {**headers, "Idempotent-Replayed": "true"} if replayed else dict(headers)
    if page and result.response is None:
        return _browser_response(source, result, receipts[0], extra)
    answer = result.response or CustomResponse(
        status=result.status, body=_generic_body(receipts, replayed)
    )
    if result.response is None:
        extra["Location"] = status_url(receipts[0].id)
    return product_response(answer, status=source.reply, headers=extra)


def product_response(
    answer: CustomResponse, *, status: int | None = None, headers: Mapping[str, str]
) -> Response[bytes]:
    """The response a product expects; `status` overrides the product's."""
    code = status or answer.status
    content = b"" if code in _BODILESS else _encode_body(answer)
    return Response(
        content,
        status_code=code,
        media_type=answer.media_type,
        headers={**pages.BARE_HEADERS, **answer.headers, **headers},
    )


def _encode_body(answer: CustomResponse) -> bytes:
    if answer.body is None:
        return b""
    if answer.media_type.partition(";")[0].endswith("json"):
        return msgspec.json.encode(answer.body)
    return str(answer.body).encode()


def _generic_body(receipts: Sequence[Receipt], replayed: bool) -> dict[str, Any]:
    body = _receipt_fields(receipts[0]) | {"duplicate": replayed}
    return (
        body
        if len(receipts) == 1
        else body | {"submissions": [_receipt_fields(receipt) for receipt in receipts]}
    )


def _receipt_fields(receipt: Receipt) -> dict[str, Any]:
    return {
        "id": receipt.id,
        "state": public_state(receipt.state),
        "duplicate": receipt.duplicate,
        "status_url": status_url(receipt.id),
    }


def _browser_response(
    source: Source, result: NormalizationResult, receipt: Receipt, headers: Mapping[str, str]
) -> Response[bytes]:
    requested = result.redirect_to
    allowed = redirect_allowed(requested, source.redirect_origins)
    target = requested if allowed else source.redirect
    if not target:
        return pages.html("thanks.html", headers=headers, reference=receipt.id)
    location = {"Location": quote(target, safe=_SAFE_IN_URL)}
    return Response(
        b"",
        status_code=303,
        media_type="text/plain",
        headers={**pages.BARE_HEADERS, **headers, **location},
    )


def check_storable(source: Source, result: NormalizationResult) -> None:
    """Raise HttpProblem for a request that must not be stored."""
    if result.outcome is Outcome.REFUSED:
        kind = "handshake" if result.status == 403 else "not-genuine"
        challenge = (
            {"WWW-Authenticate": f'Signature realm="{source.name}"'}
            if kind == "not-genuine"
            else {}
        )
        raise HttpProblem(
            kind,
            result.detail,
            errors=result.field_errors,
            headers=challenge,
            reason=result.reason,
        )
    if result.outcome is Outcome.UNREADABLE:
        status = result.status if 400 <= result.status < 500 else 400
        raise HttpProblem(
            _KIND_BY_STATUS.get(status, "unreadable"),
            result.detail,
            status=status,
            errors=result.field_errors,
        )
    if submissions.has_no_contact(source, result):
        raise HttpProblem("no-contact", errors=result.field_errors)


def handshake_answer(result: NormalizationResult) -> CustomResponse:
    """The answer to a handshake. Raises HttpProblem for any other GET and a refused handshake."""
    if result.outcome is Outcome.HANDSHAKE:
        if result.response is None:
            raise HttpProblem("unreadable")
        return result.response
    if result.outcome is Outcome.REFUSED and result.status == 403:
        raise HttpProblem("handshake", result.detail, reason=result.reason)
    raise HttpProblem("method", "Send submissions with POST.", headers={"Allow": SUBMIT_METHODS})


def add_error_member(source: Source, problem: HttpProblem) -> None:
    """Add the member in which the product shows the problem to its users, if it has one."""
    member = ADAPTERS[source.adapter].error_member
    if member is not None:
        problem.extensions[member] = problem.detail
