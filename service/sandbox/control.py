"""The sandbox's own routes: state, faults, currencies, reset. Pipedrive's API has none of them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.params import PathParameter
from litestar.types import ControllerRouterHandler

from service.sandbox.account_page import build_state, build_totals
from service.sandbox.fault_presets import describe_presets
from service.sandbox.faults import FaultRule
from service.sandbox.gateway import Gateway, whole_number

ControlRequest = Request[Any, Any, State]
PresetName = Annotated[str, PathParameter(name="name", description="A fault's name.")]


@get("/_sandbox/health", sync_to_thread=False)
def health() -> dict[str, bool]:
    """Answers as soon as the sandbox serves."""
    return {"ok": True}


@get("/_sandbox/state", sync_to_thread=False)
def read_state(request: ControlRequest) -> Response[bytes]:
    """Everything; `?calls=N` limits the calls to the latest N."""
    calls = whole_number(request.query_params.get("calls", ""))
    return _json(build_state(_gateway(request), calls))


@get("/_sandbox/totals", sync_to_thread=False)
def read_totals(request: ControlRequest) -> Response[bytes]:
    """Only the totals, for polling."""
    return _json(build_totals(_gateway(request)))


@post("/_sandbox/reset", status_code=200)
async def reset(request: ControlRequest) -> dict[str, bool]:
    """Start again with the stock account: no leads, persons, calls, faults or spent tokens."""
    await _gateway(request).reset()
    return {"ok": True}


@post("/_sandbox/expire-access-tokens", status_code=200, sync_to_thread=False)
def expire(request: ControlRequest) -> dict[str, bool]:
    """Invalidate every access token that was issued."""
    gateway = _gateway(request)
    gateway.credentials.expire_access_tokens()
    gateway.company.store.commit()
    return {"ok": True}


@post("/_sandbox/inactive-currencies", status_code=200)
async def deactivate_currencies(request: ControlRequest) -> Response[bytes]:
    """Switch off the currencies of the body, a list of codes, and switch on all others."""
    raw, company = await request.body(), _gateway(request).company
    try:
        company.deactivate_currencies(msgspec.json.decode(raw, type=list[str]))
    except (msgspec.DecodeError, RecursionError) as error:
        return _json({"error": str(error)}, 400)
    return _json({"inactive": sorted(company.inactive_currencies)})


@get("/_sandbox/faults", sync_to_thread=False)
def read_faults(request: ControlRequest) -> Response[bytes]:
    """The rules in force, and how often each has picked and hit a call."""
    return _json({"faults": _gateway(request).faults.describe()})


@get("/_sandbox/presets", sync_to_thread=False)
def read_presets() -> dict[str, str]:
    """What each fault is that can be added by its name."""
    return describe_presets()


@post("/_sandbox/faults")
async def add_faults(request: ControlRequest) -> Response[bytes]:
    """Add one rule or a list of them; 400 with the reason if they are not valid."""
    raw, faults = await request.body(), _gateway(request).faults
    try:
        decoded = msgspec.json.decode(raw, type=FaultRule | list[FaultRule])
        faults.add(decoded if isinstance(decoded, list) else [decoded])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return _json({"error": str(error)}, 400)
    return _json({"faults": faults.describe()}, 201)


@post("/_sandbox/faults/{name:str}", sync_to_thread=False)
def add_preset(request: ControlRequest, name: PresetName) -> Response[bytes]:
    """Add the fault of this name; 400 with all names if there is none."""
    faults = _gateway(request).faults
    try:
        faults.add_preset(name)
    except ValueError as error:
        return _json({"error": str(error)}, 400)
    return _json({"faults": faults.describe()}, 201)


@delete("/_sandbox/faults", status_code=200, sync_to_thread=False)
def clear_faults(request: ControlRequest) -> Response[bytes]:
    """Remove every rule."""
    _gateway(request).faults.clear()
    return _json({"faults": []})


def control_routes() -> list[ControllerRouterHandler]:
    """All routes of this module."""
    return [
        health,
        read_state,
        read_totals,
        reset,
        expire,
        deactivate_currencies,
        read_faults,
        read_presets,
        add_faults,
        add_preset,
        clear_faults,
    ]


def _gateway(request: ControlRequest) -> Gateway:
    gateway: Gateway = request.app.state["gateway"]
    return gateway


def _json(document: Any, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(document), status_code=status, media_type=MediaType.JSON)
