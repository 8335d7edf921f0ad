"""The sandbox's own routes: its state, its faults, a fresh start. None of them is part of
Pipedrive's API.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from service.sandbox.faults import Rule
from service.sandbox.gateway import Gateway
from service.sandbox.page import state, totals

Asked = Request[Any, Any, State]


@get("/_sandbox/health", sync_to_thread=False)
def health() -> dict[str, bool]:
    """Answers once the sandbox serves."""
    return {"ok": True}


@get("/_sandbox/state", sync_to_thread=False)
def read_state(request: Asked) -> Response[bytes]:
    """Everything; `?calls=N` limits the list of calls to the latest N."""
    calls = request.query_params.get("calls", "")
    return _json(state(_gateway(request), int(calls) if calls.isdecimal() else None))


@get("/_sandbox/totals", sync_to_thread=False)
def read_totals(request: Asked) -> Response[bytes]:
    """Only the sums, for polling."""
    return _json(totals(_gateway(request)))


@post("/_sandbox/reset", status_code=200)
async def reset(request: Asked) -> dict[str, bool]:
    """A fresh account: no leads, persons, calls, faults or tokens spent."""
    await _gateway(request).reset()
    return {"ok": True}


@post("/_sandbox/expire-access-tokens", status_code=200, sync_to_thread=False)
def expire(request: Asked) -> dict[str, bool]:
    """Every access token given out is refused from now on."""
    gateway = _gateway(request)
    gateway.credentials.expire()
    gateway.company.store.commit()
    return {"ok": True}


@get("/_sandbox/faults", sync_to_thread=False)
def read_faults(request: Asked) -> Response[bytes]:
    """The rules in force, with how often each picked a call and hit it."""
    return _json({"faults": _gateway(request).faults.listed()})


@post("/_sandbox/faults")
async def add_faults(request: Asked) -> Response[bytes]:
    """One rule, or a list of them; 400 with the reason where it does not read."""
    raw, faults = await request.body(), _gateway(request).faults
    try:
        decoded = msgspec.json.decode(raw, type=Rule | list[Rule])
        faults.add(decoded if isinstance(decoded, list) else [decoded])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return _json({"error": str(error)}, 400)
    return _json({"faults": faults.listed()}, 201)


@delete("/_sandbox/faults", status_code=200, sync_to_thread=False)
def clear_faults(request: Asked) -> Response[bytes]:
    """No faults any more."""
    _gateway(request).faults.clear()
    return _json({"faults": []})


def control_routes() -> list[ControllerRouterHandler]:
    """All of them."""
    return [health, read_state, read_totals, reset, expire, read_faults, add_faults, clear_faults]


def _gateway(request: Asked) -> Gateway:
    gateway: Gateway = request.app.state["gateway"]
    return gateway


def _json(document: Any, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(document), status_code=status, media_type=MediaType.JSON)
