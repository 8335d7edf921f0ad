"""The documentation that the service serves: right, complete and without the internet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.docs_document import openapi
from service.sources.request import Outcome
from service.web.problems import PROBLEM_KINDS
from tests.flow.intake_world import World, a_reading, open_world


@pytest.fixture
def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, {"LEADLINE_OPS_TOKENS": "kim:viewer:sesame"}) as opened:
        yield opened


class Page(HTMLParser):
    """Collects tags, ids and everything that a browser would load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action"):
                self.links.append(value or "")


def test_the_document_is_valid_openapi(world: World) -> None:
    """What `/docs/openapi.json` serves is a valid OpenAPI 3.1 document."""
    document = world.client.get("/docs/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented_and_every_documented_route_is_there(world: World) -> None:
    """Paths and methods of the document are those of the application, but for Litestar's own
    OPTIONS and the console's pages.
    """
    real = {
        (re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path), method.lower())
        for route in world.client.app.routes
        for handler in route.route_handlers
        if handler.fn.__module__.startswith("service.")
        and not handler.fn.__module__.startswith("service.ops.console.")
        for method in handler.http_methods
    }
    assert set(operations()) - {("/ops", "get")} == real


def operations() -> dict[tuple[str, str], Any]:
    """Every operation of the document, by path and method."""
    paths = openapi()["paths"].items()
    return {
        (path, method): operation
        for path, item in paths
        for method, operation in item.items()
        if method != "parameters"
    }


def test_operation_names_are_unique() -> None:
    """Each operation has its own id."""
    names = [operation["operationId"] for operation in operations().values()]
    assert len(names) == len(set(names))


def test_every_answer_to_a_post_is_documented() -> None:
    """Each status the intake can give stands in the document."""
    statuses = {
        str(kind.status)
        for name, kind in PROBLEM_KINDS.items()
        if name not in ("internal", "method", "state", "count")
    }
    assert statuses <= set(operations()["/in/{source}", "post"]["responses"])


def test_answers_keep_what_the_document_says(world: World) -> None:
    """An accepted answer, a receipt and a problem have the properties that the document
    requires.
    """
    schemas = openapi()["components"]["schemas"]
    accepted = world.post().json()
    assert set(accepted) == set(schemas["Accepted"]["required"])
    receipt = world.client.get(accepted["status_url"]).json()
    assert set(receipt) == set(schemas["Receipt"]["required"])
    world.reading = a_reading(Outcome.UNREADABLE, status=400)
    assert set(world.post().json()) == set(schemas["Problem"]["required"])


def test_the_page_works_without_the_internet(world: World) -> None:
    """`/docs` lists every operation and problem, runs no script and loads nothing from
    elsewhere.
    """
    answer = world.client.get("/docs")
    page = Page(answer.text)
    assert answer.status_code == 200
    assert "script" not in page.tags
    assert all(link.startswith("/") and not link.startswith("//") for link in page.links)
    assert {f"problem-{name}" for name in PROBLEM_KINDS} <= set(page.ids)
    assert {operation["operationId"] for operation in operations().values()} <= set(page.ids)
    assert all(path in answer.text for path, _ in operations())
    assert "style-src 'self'" in answer.headers["content-security-policy"]


def test_links_of_the_page_lead_somewhere(world: World) -> None:
    """The style sheet and the document are served."""
    for link in Page(world.client.get("/docs").text).links:
        assert world.client.get(link).status_code == 200
    assert world.client.get("/docs/style.css").headers["content-type"] == "text/css; charset=utf-8"


def test_a_problem_type_leads_to_its_explanation(world: World) -> None:
    """The `type` of a problem is an address of the documentation."""
    kind = world.client.get("/nowhere").json()["type"]
    path, _, place = kind.partition("#")
    assert place in Page(world.client.get(path).text).ids
