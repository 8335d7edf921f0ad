"""Who may look in: the holders of `LEADLINE_OPS_TOKENS`, as a bearer or, from a browser's own dialogue, as Basic password."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from litestar import Request

from service.intake.addresses import client_address, limited_as
from service.intake.limits import Limiter
from service.intake.receipts import any_equal
from service.problems import HttpProblem
from service.sources.units import Rate
from worker.settings import Settings
from worker.values import OpsToken

CHALLENGE = {"WWW-Authenticate": 'Basic realm="Leadline", charset="UTF-8"'}
TRIES = Rate(count=20, seconds=60.0)
"""Refused tokens per address; beyond it each further one is answered 429."""


async def operator(request: Request[Any, Any, Any], settings: Settings, limiter: Limiter) -> OpsToken:
    """The token's owner. Raises HttpProblem: 404 while no token is configured, 401 without a right one, 429 after many tries."""
    if not settings.ops_tokens:
        raise HttpProblem("not-found")
    given = _given(request.headers.get("authorization", ""))
    owners = [token for token in settings.ops_tokens if any_equal(given, [token.token])]
    if owners and given:
        return owners[0]
    if given:
        peer = request.client.host if request.client else None
        address = client_address(peer, request.headers.getall("x-forwarded-for", []), settings.trusted_proxies)
        if await limiter.wait_seconds("ops", limited_as(address), TRIES) > 0:
            raise HttpProblem("rate", headers={"Retry-After": "60"})
    raise HttpProblem("not-signed-in", headers=CHALLENGE)


def _given(header: str) -> str:
    scheme, _, value = header[:4096].partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
