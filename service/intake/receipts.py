"""`GET /submissions/{id}`: what became of a submission, without personal data."""

from __future__ import annotations

import asyncio
import hmac
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response

from service.context import ServiceContext
from service.intake.context import plain_request
from service.intake.responses import public_state
from service.sources.verification.token import shows_token
from service.web import pages
from service.web.origins import EXPOSED
from service.web.problems import HttpProblem
from worker.errors import StoreUnavailable
from worker.ledger import Record
from worker.ledger.record import spooled_record

_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": EXPOSED}
LONGEST_TOKEN = 4096


class Receipts:
    """One per process."""

    def __init__(self, context: ServiceContext) -> None:
        self.context = context

    async def get(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The public fields; with the source's token or an ops token also how the delivery goes.
        Raises HttpProblem.
        """
        record = await self._find(request.path_params["submission"])
        body = _public(record)
        if self._entitled(request, record.source):
            body |= _private(record)
        headers = {**pages.BARE_HEADERS, **_CORS, "Vary": "Authorization"}
        return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)

    def preflight(self) -> Response[bytes]:
        headers = {
            **_CORS,
            "Allow": "GET, OPTIONS",
            "Access-Control-Allow-Methods": "GET, OPTIONS",
            "Access-Control-Allow-Headers": "authorization",
            "Access-Control-Max-Age": "600",
        }
        return Response(b"", status_code=204, media_type="text/plain", headers=headers)

    async def _find(self, submission_id: str) -> Record:
        if not _ID.fullmatch(submission_id):
            raise HttpProblem("not-found", "There is no submission of this id.")
        try:
            found = await asyncio.to_thread(self._look, submission_id)
        except StoreUnavailable:
            raise HttpProblem(
                "not-stored", "The record cannot be read just now.", headers={"Retry-After": "5"}
            ) from None
        if found is None:
            raise HttpProblem("not-found", "There is no submission of this id.")
        return found

    def _look(self, submission_id: str) -> Record | None:
        """In this process's spool, else in the ledger. What another process spooled is not known
        before Redis is back.
        """
        spool = self.context.acceptor.spool
        waiting = spool.find(submission_id) if spool else None
        return spooled_record(waiting) if waiting else self.context.ledger.get(submission_id)

    def _entitled(self, request: Request[Any, Any, Any], source_name: str) -> bool:
        given = _bearer(request.headers.get("authorization", ""))
        if given and any_equal(
            given, [token.token for token in self.context.settings.ops_tokens or ()]
        ):
            return True
        source = self.context.sources.sources.get(source_name)
        return source is not None and shows_token(plain_request(request.scope), source)


def any_equal(given: str, secrets: list[Any]) -> bool:
    """Whether `given` is one of the secrets, in a time that does not tell which or how nearly."""
    shown = given.encode("utf-8", "surrogateescape")
    equal = False
    for secret in secrets:  # to the end, also after a match
        equal |= hmac.compare_digest(shown, str(secret).encode("utf-8", "surrogateescape"))
    return equal


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and len(token) <= LONGEST_TOKEN else ""


def _public(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "source": record.source,
        "state": public_state(record.state),
        "result": record.result,
        "received_at": timestamp(record.received_at),
        "updated_at": timestamp(record.updated_at),
        "duplicate_of": record.duplicate_of,
    }


def _private(record: Record) -> dict[str, Any]:
    return {
        "state": record.state,
        "lead_id": record.lead_id,
        "person_id": record.person_id,
        "attempts": record.attempts,
        "cause": msgspec.to_builtins(record.cause) if record.cause else None,
        "next_at": timestamp(record.next_at),
    }


def timestamp(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
