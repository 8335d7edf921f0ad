"""Every error response of the service: RFC 9457 for programs, a small page for people, one wording.

`PROBLEM_KINDS` is the one table of kinds. The `type` of a problem is the place in `/docs` that
explains its kind, and must not change. https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from service.sources.request import FieldError
from service.web import pages
from service.web.request_id import request_id

MEDIA_TYPE = "application/problem+json"


class ProblemKind(Struct, frozen=True):
    """One kind of error.

    `help` says what to do about it: for readers of `/docs`, and as `detail` where nothing more
    specific is known. `is_default`: an error of the framework with this status becomes this kind.
    """

    status: int
    title: str
    help: str
    is_default: bool = False


PROBLEM_KINDS: dict[str, ProblemKind] = {
    "filter": ProblemKind(
        400, "The filter is empty", "Name a state, a source, a cause or a search `q`."
    ),
    "unreadable": ProblemKind(
        400,
        "The request cannot be read",
        "Send UTF-8 in the media type that Content-Type names.",
        is_default=True,
    ),
    "framing": ProblemKind(
        400,
        "The request is not valid HTTP",
        "Frame requests as RFC 9112 says, with one Host header.",
    ),
    "incomplete": ProblemKind(
        400,
        "The body ended too early",
        "Send as many bytes as announced, and stay connected until the response.",
    ),
    "idempotency-key": ProblemKind(
        400,
        "The Idempotency-Key is not usable",
        "Send one key of 1 to 255 visible ASCII characters.",
    ),
    "not-genuine": ProblemKind(
        401,
        "The request is not genuine",
        "Sign the exact bytes you send with the secret of this source.",
        is_default=True,
    ),
    "not-signed-in": ProblemKind(
        401,
        "Sign in first",
        "Give a token of LEADLINE_OPS_TOKENS as bearer, or as the password when asked.",
    ),
    "handshake": ProblemKind(
        403,
        "The handshake is refused",
        "Compare the verify token here with the one the provider has.",
    ),
    "origin": ProblemKind(
        403,
        "This origin may not post here",
        "Add the page's origin to `origins` of the source.",
        is_default=True,
    ),
    "forbidden": ProblemKind(
        403, "Your token may only read", "Ask for a token with the role operator."
    ),
    "cross-site": ProblemKind(
        403,
        "This came from another site",
        "Send it from the console, or from a program with a bearer token.",
    ),
    "not-found": ProblemKind(
        404,
        "There is nothing here",
        "Compare the address with the intake URLs of the source file.",
        is_default=True,
    ),
    "method": ProblemKind(
        405,
        "This method is not allowed here",
        "Use a method named in the Allow header.",
        is_default=True,
    ),
    "too-slow": ProblemKind(
        408, "The body took too long", "Send the whole body within ten seconds."
    ),
    "state": ProblemKind(
        409,
        "Its state does not allow this",
        "Look at its state again; somebody else may have been faster.",
    ),
    "count": ProblemKind(
        409, "The count has changed", "Look at the list again, and send the count you see then."
    ),
    "too-large": ProblemKind(
        413,
        "The body is too large",
        "Send at most 256 KiB, or what `max_body` of the source allows.",
        is_default=True,
    ),
    "media-type": ProblemKind(
        415,
        "The media type is not supported",
        "Send JSON, a form or multipart, without Content-Encoding.",
        is_default=True,
    ),
    "no-contact": ProblemKind(
        422, "There is nobody to contact", "Send an e-mail address, a phone number or a name."
    ),
    "too-many-events": ProblemKind(
        422,
        "The request holds too many events",
        "Send one event a request to a form, and at most 100 to a JSON source.",
    ),
    "key-reused": ProblemKind(
        422, "The Idempotency-Key belongs to another body", "Use a new key for each new submission."
    ),
    "value": ProblemKind(422, "A value is wrong", "Correct the fields that `errors` names."),
    "connections": ProblemKind(
        429,
        "Too many connections",
        "Use fewer connections at a time; each may carry many requests.",
    ),
    "locked-out": ProblemKind(
        429, "Too many wrong tokens", "Wait as long as the Retry-After header says."
    ),
    "rate": ProblemKind(
        429, "Too many submissions", "Wait as long as the Retry-After header says.", is_default=True
    ),
    "head-too-large": ProblemKind(
        431, "The head is too large", "Send at most 64 KiB of request line and headers."
    ),
    "full": ProblemKind(
        503, "All connections are in use", "Send it again after Retry-After; it was not stored."
    ),
    "away": ProblemKind(503, "Redis is unavailable", "Try again after Retry-After."),
    "loading": ProblemKind(
        503,
        "The lists are still loading",
        "Try again after Retry-After: after a start the lists take a moment to load.",
    ),
    "unsafe-store": ProblemKind(
        503,
        "Submissions cannot be kept safely",
        "Send it again after Retry-After; it was not stored. Operators: `leadline check` and the"
        " log say what to do, `/readyz` names the cause.",
    ),
    "not-stored": ProblemKind(
        503,
        "The submission could not be stored",
        "Send it again after Retry-After; it was not stored.",
        is_default=True,
    ),
    "no-room": ProblemKind(
        503,
        "There is no room for it just now",
        "Send it again after Retry-After; it was not stored. Submissions that prove where they come"
        " from are still accepted.",
    ),
    "internal": ProblemKind(
        500,
        "Something is wrong on our side",
        "Report the request id to the operator.",
        is_default=True,
    ),
}

_DEFAULT_BY_STATUS = {kind.status: name for name, kind in PROBLEM_KINDS.items() if kind.is_default}


class HttpProblem(Exception):
    """Raise it to answer with an error.

    `detail` never repeats what the sender sent. `extensions` are members beside the standard ones.
    `reason` is for operators and may say more than the sender should know.
    """

    def __init__(
        self,
        kind: str,
        detail: str | None = None,
        *,
        status: int | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = status or PROBLEM_KINDS[kind].status
        self.detail = detail or PROBLEM_KINDS[kind].help
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})
        self.reason = reason or self.detail


def problem_document(problem: HttpProblem, instance: str) -> dict[str, Any]:
    """The members of the response's body; `instance` is the request id."""
    return problem.extensions | {
        "type": f"/docs#problem-{problem.kind}",
        "title": PROBLEM_KINDS[problem.kind].title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "errors": [{"field": error.field, "message": error.message} for error in problem.errors],
    }


def problem_response(
    problem: HttpProblem, instance: str, *, page: bool, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """The problem as a page for a browser that navigates, else as JSON."""
    content = problem_document(problem, instance)
    extra = {**(headers or {}), **problem.headers}
    if page:
        return pages.html("problem.html", status=problem.status, headers=extra, problem=content)
    return Response(
        msgspec.json.encode(content),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={**pages.BARE_HEADERS, **extra},
    )


def handle_problem(request: Request[Any, Any, Any], problem: HttpProblem) -> Response[bytes]:
    return problem_response(
        problem,
        request_id(request.scope),
        page=pages.prefers_html(request.headers.get("accept", "")),
    )


def handle_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework itself refuses, in our words."""
    return handle_problem(request, as_problem(error))


def as_problem(error: HTTPException) -> HttpProblem:
    """The problem that stands for a refusal of the framework."""
    otherwise = "unreadable" if error.status_code < 500 else "internal"
    kind = _DEFAULT_BY_STATUS.get(error.status_code, otherwise)
    allow = {
        name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"
    }
    status = error.status_code if error.status_code < 500 else None
    return HttpProblem(kind, status=status, headers=allow)


def handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a bug of ours: the log says where it is, the sender learns nothing of it."""
    structlog.get_logger().error(
        "unexpected error", request_id=request_id(request.scope), exc_info=error
    )
    return handle_problem(request, HttpProblem("internal"))
