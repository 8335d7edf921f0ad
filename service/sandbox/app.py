"""Puts the sandbox together as one Litestar application."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from litestar import Litestar, asgi
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from service.sandbox.company import Clocks, Company
from service.sandbox.control import control_routes
from service.sandbox.gateway import Gateway
from service.sandbox.journal import Journal
from service.sandbox.leads import index_lead
from service.sandbox.organizations import index_organization
from service.sandbox.page import page_routes
from service.sandbox.persons import index_person
from service.sandbox.settings import SandboxSettings

API = ["/v1", "/api", "/oauth"]


def create_app(
    settings: SandboxSettings, *, wall: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic
) -> Litestar:
    """The sandbox. `wall`: Unix seconds; `ticks`: monotonic seconds. Opens `state_file` and closes it on shutdown."""
    company = Company(settings, Journal(Path(settings.state_file) if settings.state_file else None), Clocks(wall, ticks))
    _index(company)
    gateway = Gateway(company)

    @asgi(API, is_mount=True, copy_scope=False)
    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await gateway(scope, receive, send)

    async def close() -> None:
        await gateway.close()
        company.close()

    return Litestar(
        route_handlers=[api, *control_routes(), *page_routes()],
        on_shutdown=[close],
        state=State({"gateway": gateway}),
        openapi_config=None,
        logging_config=None,
    )


def _index(company: Company) -> None:
    """What a state file brought is found at once: it is older than the index's lag."""
    for organization in company.store.organizations:
        index_organization(organization, company, at_once=True)
    for person in company.store.persons:
        index_person(person, company, at_once=True)
    for lead in company.store.leads:
        index_lead(lead, company, at_once=True)
