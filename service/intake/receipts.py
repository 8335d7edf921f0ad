"""`GET /submissions/{id}`: what became of a submission, without personal data."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Request, Response

from service.context import ServiceContext
from service.intake.context import build_inbound_request
from service.intake.responses import public_state
from service.sources.verification.token import has_valid_token, shows_token
from service.web import pages
from service.web.authorization import TokenGuard, parse_authorization
from service.web.client_address import requester_address
from service.web.origins import EXPOSED_HEADERS
from service.web.problems import HttpProblem
from service.web.request_id import is_submission_id
from worker.contract import State
from worker.errors import StoreUnavailable
from worker.ledger import Record
from worker.ledger.record import spooled_record
from worker.units import format_iso

_CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": EXPOSED_HEADERS}


class Receipts:
    """`/submissions/{id}`. One per process."""

    def __init__(self, context: ServiceContext, guard: TokenGuard) -> None:
        self.context = context
        self._guard = guard

    async def get(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Show a submission: its public fields, and to holders of a token also its delivery.

        The source's own token and an ops token both count. Raises HttpProblem 404, 429 and 503.
        """
        record = await self._find(request.path_params["submission"])
        body = _public_fields(record)
        if await self._may_see_private(request, record.source):
            body |= _private_fields(record)
        elif not _shows_progress(record):
            body |= _undecided_fields(record)
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
        if not is_submission_id(submission_id):
            raise HttpProblem("not-found", "There is no submission with this id.")
        try:
            record = await asyncio.to_thread(self._read_record, submission_id)
        except StoreUnavailable:
            raise HttpProblem(
                "not-stored", "The record cannot be read just now.", headers={"Retry-After": "5"}
            ) from None
        if record is None:
            raise HttpProblem("not-found", "There is no submission with this id.")
        return record

    def _read_record(self, submission_id: str) -> Record | None:
        """Look in this process's spool, then in the ledger.

        A submission in the spool of another process cannot be found before Redis is back.
        """
        spool = self.context.acceptor.spool
        spooled = spool.find(submission_id) if spool else None
        return spooled_record(spooled) if spooled else self.context.ledger.get(submission_id)

    async def _may_see_private(self, request: Request[Any, Any, Any], source_name: str) -> bool:
        scheme, token = parse_authorization(request.headers.get("authorization", ""))
        bearer = token if scheme == "bearer" else ""
        source = self.context.sources.sources.get(source_name)
        inbound = build_inbound_request(request.scope)
        if not bearer and (source is None or not shows_token(inbound, source)):
            return False
        is_source_s = source is not None and has_valid_token(inbound, source)
        address = requester_address(request, self.context.settings.trusted_proxies)
        return await self._guard.is_right(
            address, bearer, f"source {source_name}" if is_source_s else None
        )


def _public_fields(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "source": record.source,
        "state": public_state(record.state),
        "result": record.result,
        "received_at": format_iso(record.received_at, timespec="milliseconds"),
        "updated_at": format_iso(record.updated_at, timespec="milliseconds"),
        "duplicate_of": record.duplicate_of,
    }


def _shows_progress(record: Record) -> bool:
    """Whether the public sees what became of it: of spam only that it became a lead."""
    if record.accepted_as is State.QUARANTINED:
        return record.state is State.DELIVERED
    return record.state is not State.QUEUED


def _undecided_fields(record: Record) -> dict[str, Any]:
    """What the public sees of a submission that waits, and of spam whatever a person decided."""
    return {
        "state": public_state(record.accepted_as),
        "result": None,
        "updated_at": format_iso(record.received_at, timespec="milliseconds"),
    }


def _private_fields(record: Record) -> dict[str, Any]:
    return {
        "state": record.state,
        "lead_id": record.lead_id,
        "person_id": record.person_id,
        "attempts": record.attempts,
        "cause": msgspec.to_builtins(record.cause) if record.cause else None,
        "next_at": format_iso(record.next_at, timespec="milliseconds"),
    }
