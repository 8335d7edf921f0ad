"""The documentation that the service serves: right, complete and without the internet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.docs import document as documents
from service.docs import intake_paths
from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import process_request
from service.sources.request import InboundRequest, Outcome
from service.sources.schema import Source
from service.web.problems import PROBLEM_KINDS
from tests.flow.intake_world import SOURCES, World, make_result, open_world

TOKENS = {"LEADLINE_OPS_TOKENS": "kim:viewer:open-sesame-and-close-again"}


@pytest.fixture
def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch, TOKENS) as opened:
        yield opened


@pytest.fixture
def document(world: World) -> dict[str, Any]:
    return dict(world.client.get("/docs/openapi.json").json())


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


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation, by path and method."""
    return {(path, method): operation for path, method, operation in documents.operations(document)}


def module_of(handler: Any) -> str:
    """The module of a handler's function; Litestar wraps those that run in a thread."""
    return str(getattr(handler.fn, "func", handler.fn).__module__)


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that an operation takes or gives, with where it stands."""
    if "requestBody" in operation:
        for kind, content in operation["requestBody"]["content"].items():
            yield f"request {kind}", content
    for status, response in operation["responses"].items():
        for kind, content in response.get("content", {}).items():
            yield f"{status} {kind}", content


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    """What `/docs/openapi.json` serves is a valid OpenAPI 3.1 document."""
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented_and_every_documented_route_is_there(
    world: World, document: dict[str, Any]
) -> None:
    """Paths and methods of the document are those of the application, but for Litestar's own
    OPTIONS and the console's pages; each source's own path is one of `/in/{source}`.
    """
    real = {
        (re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path), method.lower())
        for route in world.client.app.routes
        for handler in route.route_handlers
        if module_of(handler).startswith("service.")
        and not module_of(handler).startswith("service.ops.console.")
        for method in handler.http_methods
    }
    of_sources = {f"/in/{source.name}" for source in SOURCES}
    documented = {(path, method) for path, method in operations(document) if path not in of_sources}
    assert documented - {("/ops", "get"), ("/ops", "head")} == real
    assert of_sources <= set(document["paths"])


def test_the_page_to_sign_in_is_documented_as_a_page(document: dict[str, Any]) -> None:
    """Without a session the console answers 401 with HTML, and the document says so."""
    responses = operations(document)["/ops", "get"]["responses"]
    assert list(responses["401"]["content"]) == list(responses["429"]["content"]) == ["text/html"]


def test_operation_names_are_unique(document: dict[str, Any]) -> None:
    """Each operation has its own id."""
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))


def test_every_answer_to_a_post_is_documented(document: dict[str, Any]) -> None:
    """Each status the intake can give stands in the document."""
    statuses = {
        str(kind.status)
        for name, kind in PROBLEM_KINDS.items()
        if name not in ("internal", "method", "state", "count")
    }
    assert statuses <= set(operations(document)["/in/{source}", "post"]["responses"])


def test_every_body_has_an_example_that_is_right(document: dict[str, Any]) -> None:
    """Each request and each answer, errors included, shows an example; it is valid by its own
    schema.
    """
    for place, operation in operations(document).items():
        for kind, content in contents(operation):
            examples = [each["value"] for each in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            assert examples, (place, kind)
            schema = content["schema"] | {"components": document["components"]}
            for example in examples:
                faults = [
                    error.message for error in Draft202012Validator(schema).iter_errors(example)
                ]
                assert faults == [], (place, kind)


def test_every_parameter_has_an_example(document: dict[str, Any]) -> None:
    """Whoever tries a call sees what to put where."""
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method in documents.METHODS:
            for parameter in shared + item.get(method, {}).get("parameters", []):
                assert "example" in parameter, (path, method, parameter["name"])


def test_each_source_says_how_its_senders_prove_themselves(document: dict[str, Any]) -> None:
    """A token in a header or in the query and a signature header are security schemes by the
    source's own names; a source without proof has none.
    """
    schemes = document["components"]["securitySchemes"]
    posts = {source.name: operations(document)[f"/in/{source.name}", "post"] for source in SOURCES}
    assert schemes["ops"]["scheme"] == "bearer"
    assert (schemes["source-partner"]["in"], schemes["source-partner"]["name"]) == (
        "header",
        "X-Key",
    )
    assert (schemes["source-linked"]["in"], schemes["source-linked"]["name"]) == ("query", "key")
    assert posts["partner"]["security"] == [{"source-partner": []}]
    assert "security" not in posts["contact"]


def test_a_signature_is_a_security_scheme() -> None:
    """An HMAC says which header it stands in and what is signed."""
    typeform = ADAPTERS["typeform"].verify
    source = Source(name="survey", adapter="typeform", verify=typeform)
    scheme = intake_paths.security_schemes({"survey": source})["source-survey"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == (
        "apiKey",
        "header",
        "Typeform-Signature",
    )
    assert "SHA256" in scheme["description"]


def test_the_canonical_fields_are_those_that_are_read() -> None:
    """Each field that the document names for a post is read into the lead under that name."""
    fields = intake_paths.lead_fields()
    assert {"email", "first_name", "consent", "utm_campaign", "gclid"} <= set(fields)
    values: dict[str, Any] = {
        "email": "ada@example.com",
        "website": "https://www.example.com",
        "page_url": "https://www.example.com/contact",
        "referrer": "https://search.example",
        "phone": "+4915112345678",
        "consent": True,
        "country": "DE",
        "occurred_at": "2026-03-02T09:41:07Z",
    }
    for name in fields:
        body = msgspec.json.encode({"email": "ada@example.com", name: values.get(name, "x1")})
        request = InboundRequest(
            method="POST",
            query="",
            headers=[("content-type", "application/json")],
            body=body,
        )
        [event] = process_request(Source(name="partner", adapter="json"), request, 0.0).events
        assert event.lead is not None
        assert name not in event.lead.answers, name


@pytest.mark.parametrize(
    ("url", "server"), [(None, "/"), ("https://leads.example/", "https://leads.example")]
)
def test_the_server_is_the_one_that_senders_see(
    url: str | None, server: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public URL is the document's server; without one it is where the document came from."""
    env = TOKENS | ({"LEADLINE_PUBLIC_URL": url} if url else {})
    with open_world(redis_url, monkeypatch, env) as world:
        assert world.client.get("/docs/openapi.json").json()["servers"] == [{"url": server}]


def test_what_the_operators_may_call_is_documented_while_it_is_closed(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a token nothing of `/ops` is there, and still it is documented."""
    with open_world(redis_url, monkeypatch) as world:
        assert "/ops/api/overview" in world.client.get("/docs/openapi.json").json()["paths"]
        assert world.client.get("/ops/api/overview").status_code == 404


def test_answers_keep_what_the_document_says(world: World, document: dict[str, Any]) -> None:
    """An accepted answer, a receipt and a problem have the properties that the document
    requires.
    """
    schemas = document["components"]["schemas"]
    accepted = world.post().json()
    assert set(accepted) == set(schemas["Accepted"]["required"])
    receipt = world.client.get(accepted["status_url"]).json()
    assert set(receipt) == set(schemas["Receipt"]["required"])
    world.result = make_result(Outcome.UNREADABLE, status=400)
    assert set(world.post().json()) == set(schemas["Problem"]["required"])


def test_the_page_works_without_the_internet(world: World, document: dict[str, Any]) -> None:
    """`/docs` lists every operation and problem, runs no script and loads nothing from
    elsewhere.
    """
    answer = world.client.get("/docs")
    page = Page(answer.text)
    assert answer.status_code == 200
    assert "script" not in page.tags
    assert all(link.startswith("/") and not link.startswith("//") for link in page.links)
    assert {f"problem-{name}" for name in PROBLEM_KINDS} <= set(page.ids)
    names = {operation["operationId"] for operation in operations(document).values()}
    assert names <= set(page.ids)
    assert all(path in answer.text for path, _ in operations(document))
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
