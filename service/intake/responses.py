"""The answer to an accepted submission: generic, a product's own, or a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Response

from service.intake import submissions
from service.sources.request import CustomResponse, NormalizationResult, Outcome
from service.sources.schema import Source
from service.web import pages
from service.web.origins import redirect_allowed
from service.web.problems import HttpProblem
from worker.contract import Receipt, State

ACCEPTED = 202
_BODILESS = frozenset({204, 205, 304})
_SAFE_IN_URL = "%/:?#[]@!$&'()*+,;=-._~"


def public_state(state: State) -> State:
    """What the public may know: quarantine is no business of a spammer's."""
    return State.QUEUED if state is State.QUARANTINED else state


def status_url(submission_id: str) -> str:
    return f"/submissions/{submission_id}"


def accepted(
    source: Source,
    reading: NormalizationResult,
    receipts: Sequence[Receipt],
    *,
    page: bool,
    headers: Mapping[str, str],
) -> Response[bytes]:
    """The answer to a stored request. `page` is set for a browser that navigates."""
    replayed = all(receipt.duplicate for receipt in receipts)
    extra = {**headers, "Idempotent-Replayed": "true"} if replayed else dict(headers)
    if page and reading.answer is None:
        return _for_a_browser(source, reading, receipts[0], extra)
    answer = reading.answer or CustomResponse(
        status=reading.status, body=_generic(receipts, replayed)
    )
    if reading.answer is None:
        extra["Location"] = status_url(receipts[0].id)
    return product(answer, status=source.reply, headers=extra)


def product(
    answer: CustomResponse, *, status: int | None = None, headers: Mapping[str, str]
) -> Response[bytes]:
    """A product's own answer; `status` overrides it."""
    code = status or answer.status
    content = b"" if code in _BODILESS else _encoded(answer)
    return Response(
        content,
        status_code=code,
        media_type=answer.media_type,
        headers={**pages.BARE_HEADERS, **headers},
    )


def _encoded(answer: CustomResponse) -> bytes:
    if answer.body is None:
        return b""
    if answer.media_type.partition(";")[0].endswith("json"):
        return msgspec.json.encode(answer.body)
    return str(answer.body).encode()


def _generic(receipts: Sequence[Receipt], replayed: bool) -> dict[str, Any]:
    body = _item(receipts[0]) | {"duplicate": replayed}
    return (
        body
        if len(receipts) == 1
        else body | {"submissions": [_item(receipt) for receipt in receipts]}
    )


def _item(receipt: Receipt) -> dict[str, Any]:
    return {
        "id": receipt.id,
        "state": public_state(receipt.state),
        "duplicate": receipt.duplicate,
        "status_url": status_url(receipt.id),
    }


def _for_a_browser(
    source: Source, reading: NormalizationResult, receipt: Receipt, headers: Mapping[str, str]
) -> Response[bytes]:
    own = reading.redirect_to
    target = own if redirect_allowed(own, source.redirect_origins) else source.redirect
    if not target:
        return pages.html("thanks.html", headers=headers, reference=receipt.id)
    location = {"Location": quote(target, safe=_SAFE_IN_URL)}
    return Response(
        b"",
        status_code=303,
        media_type="text/plain",
        headers={**pages.BARE_HEADERS, **headers, **location},
    )


# What a judged request is answered with where nothing is stored. Shared by the door and the
# preview, so that they agree.

HANDSHAKES = "POST, OPTIONS"
_READ_AS = {413: "too-large", 415: "media-type"}


def check_reading(source: Source, reading: NormalizationResult) -> None:
    """Raises HttpProblem for what is not to be stored."""
    if reading.outcome is Outcome.REFUSED:
        kind = "handshake" if reading.status == 403 else "not-genuine"
        challenge = (
            {"WWW-Authenticate": f'Signature realm="{source.name}"'}
            if kind == "not-genuine"
            else {}
        )
        raise HttpProblem(
            kind, reading.detail, errors=reading.problems, headers=challenge, why=reading.why
        )
    if reading.outcome is Outcome.UNREADABLE:
        status = reading.status if 400 <= reading.status < 500 else 400
        raise HttpProblem(
            _READ_AS.get(status, "unreadable"),
            reading.detail,
            status=status,
            errors=reading.problems,
        )
    if submissions.nobody_to_reach(source, reading):
        raise HttpProblem("no-contact", errors=reading.problems)


def handshake(reading: NormalizationResult) -> CustomResponse:
    """The answer to a handshake. Raises HttpProblem for a GET that is none, or that is refused."""
    if reading.outcome is Outcome.HANDSHAKE:
        if reading.answer is None:
            raise HttpProblem("unreadable")
        return reading.answer
    if reading.outcome is Outcome.REFUSED and reading.status == 403:
        raise HttpProblem("handshake", reading.detail, why=reading.why)
    raise HttpProblem("method", "Submissions are posted.", headers={"Allow": HANDSHAKES})


def in_product_terms(source: Source, problem: HttpProblem) -> None:
    """Adds what a product needs to show the problem to its users."""
    if source.adapter == "google-ads":
        # Google shows `message` to the advertiser who presses "Send test data".
        problem.extensions["message"] = problem.detail
