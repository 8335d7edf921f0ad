"""A conversation with the sandbox in which every operation occurs, with rich and poor records."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import httpx

from service.sandbox.account.stock import custom_key, label_id
from service.sandbox.api_operations import Route, RoutingTable, read_operations
from service.sandbox.resources.account_changes import CHANGES
from tests.sandbox.account import NOBODY, ManualClock, add_lead, add_person, data


class Exchange(NamedTuple):
    """A request and its response; `path` is relative to the prefix of the version."""

    operation: str
    version: str
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    body: bytes
    status: int
    answer: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.answer)


class Recorder:
    """Records what passes between a client and the sandbox."""

    def __init__(self, client: httpx.Client) -> None:
        self.exchanges: list[Exchange] = []
        self._routes = RoutingTable(read_operations())
        client.event_hooks = {"response": [self._record]}

    def _record(self, response: httpx.Response) -> None:
        response.read()
        request, path = response.request, response.request.url.path
        route = self._routes.find(request.method, path)
        if not isinstance(route, Route):
            return
        version = route.operation.version
        self.exchanges.append(
            Exchange(
                route.operation.name,
                version,
                request.method,
                path.removeprefix("/api").removeprefix(f"/{version}"),
                dict(request.url.params),
                request.headers.get("content-type", ""),
                request.read(),
                response.status_code,
                response.content,
            )
        )


def talk(client: httpx.Client, clock: ManualClock) -> list[Exchange]:
    """Perform every operation at least once; returns the exchanges in order."""
    recorder = Recorder(client)
    rich, poor, organization = _contacts(client)
    clock.advance(5)
    lead = _leads(client, rich, poor, organization)
    clock.advance(5)
    _notes(client, lead, rich, organization)
    _files(client, lead)
    _lists_and_searches(client, rich, organization)
    _metadata(client)
    _endings(client, lead, rich, poor, organization)
    return recorder.exchanges


def talk_amid_changes(client: httpx.Client, clock: ManualClock) -> list[Exchange]:
    """Call an account of contact sync that somebody changes in every way before the call."""
    recorder = Recorder(client)
    synced: dict[str, Any] = {
        "job_title": "Engineer",
        "birthday": "1985-12-10",
        "postal_address": {"value": "1 Main Street"},
        "notes": "met at the fair",
        "im": [{"value": "jane", "primary": True}],
    }
    for change in CHANGES:
        organization = data(client.post("/api/v2/organizations", json={"name": "Example"}))["id"]
        person = add_person(client, org_id=organization, **synced)
        labels = data(client.get("/v1/leadLabels"))
        channel = data(client.get("/api/v2/dealFields/channel"))["options"][-1]["id"]
        body = {
            "title": "A lead",
            "person_id": person,
            "organization_id": organization,
            "label_ids": [label["id"] for label in labels],
            "channel": channel,
            "owner_id": 12,
            custom_key("deal", "Company size"): 102,
        }
        lead = data(client.post("/v1/leads", json=body))["id"]
        effect = {"kind": "meanwhile", "change": change}
        client.post("/_sandbox/faults", json={"match": {"count": 1}, "effect": effect})
        if "lead" in change or change == "orphan-label":
            client.patch(f"/v1/leads/{lead}", json={"label_ids": body["label_ids"]})
        else:
            client.post("/v1/leads", json=body)
        clock.advance(5)
        client.get("/v1/leads")
        client.get("/api/v2/deals", params={"include_fields": "source_lead_id"})
        client.get("/api/v2/persons")
        client.get("/v1/users")
        client.post("/_sandbox/reset")
    many = {"effect": {"kind": "many-options", "options": 50}}
    client.post("/_sandbox/faults", json=many)
    for path in ("/api/v2/dealFields", "/api/v2/personFields"):
        client.get(path)
    return recorder.exchanges


def _contacts(client: httpx.Client) -> tuple[int, int, int]:
    organization = data(
        client.post(
            "/api/v2/organizations", json={"name": "Example Ltd", "website": "https://example.org"}
        )
    )["id"]
    address = {"value": "1 Main Street", "country": "Estonia"}
    client.patch(
        f"/api/v2/organizations/{organization}",
        json={"address": address, "label_ids": [1], "employee_count": 12},
    )
    bare = data(
        client.post(
            "/api/v2/organizations", json={"name": "Example Two", "owner_id": 12, "visible_to": 7}
        )
    )["id"]
    client.patch(f"/api/v2/organizations/{bare}", json={"website": None})
    client.get(f"/api/v2/organizations/{bare}")
    rich = add_person(
        client,
        "Jane van Doe",
        org_id=organization,
        phones=[{"value": "+372 5555 0100", "label": "mobile", "primary": True}],
        label_ids=[6],
        visible_to=1,
        add_time="2025-01-01T10:20:00Z",
        marketing_status="subscribed",
        custom_fields={custom_key("person", "Newsletter"): "yes"},
    )
    poor = add_person(client, "Cher", None)
    client.patch(f"/api/v2/persons/{poor}", json={"owner_id": 12})
    client.get(f"/api/v2/persons/{poor}")
    return rich, poor, organization


def _leads(client: httpx.Client, rich: int, poor: int, organization: int) -> str:
    lead = add_lead(
        client,
        rich,
        organization_id=organization,
        label_ids=[label_id("Hot")],
        owner_id=12,
        value={"amount": 1200, "currency": "EUR"},
        expected_close_date="2026-02-28",
        visible_to="3",
        was_seen=True,
        origin_id="contact:01",
        channel=66,
        channel_id="spring",
        **{custom_key("deal", "Budget"): "10k", custom_key("deal", "Company size"): 102},
    )
    data(
        client.post(
            "/v1/leads", json={"title": "Lead of a company", "organization_id": organization}
        )
    )
    client.patch(
        f"/v1/leads/{lead}",
        json={"label_ids": [label_id("Warm"), label_id("PPC")], "value": None, "channel": None},
    )
    client.patch(
        f"/v1/leads/{lead}",
        json={"value": {"amount": 30, "currency": "USD"}, "expected_close_date": None},
    )
    client.patch(f"/v1/leads/{NOBODY}", json={"title": "x"})
    client.patch(f"/v1/leads/{add_lead(client, poor)}", json={"is_archived": True})
    client.get(f"/v1/leads/{lead}")
    client.get(f"/v1/leads/{NOBODY}")
    return lead


def _notes(client: httpx.Client, lead: str, rich: int, organization: int) -> None:
    note = data(
        client.post(
            "/v1/notes", json={"content": "<p>Hello</p>", "lead_id": lead, "pinned_to_lead_flag": 1}
        )
    )["id"]
    client.post(
        "/v1/notes", json={"content": "About her", "person_id": rich, "org_id": organization}
    )
    client.get(f"/v1/notes/{note}")
    client.put(f"/v1/notes/{note}", json={"content": "<p>Hello again</p>"})
    client.get(
        "/v1/notes",
        params={"lead_id": lead, "limit": 1, "sort": "add_time DESC", "pinned_to_lead_flag": 1},
    )
    client.get("/v1/notes", params={"limit": 1})
    client.get("/v1/notes", params={"person_id": rich})
    client.delete(f"/v1/notes/{note}")


def _files(client: httpx.Client, lead: str) -> None:
    """Only leads: the documents' validator does not read a number from a form."""
    file = {"file": ("cv.pdf", b"%PDF-1.7", "application/pdf")}
    data(client.post("/v1/files", data={"lead_id": lead}, files=file))
    client.get("/v1/files", params={"sort": "update_time DESC", "limit": 1})
    client.get("/v1/files")


def _lists_and_searches(client: httpx.Client, rich: int, organization: int) -> None:
    client.get(
        "/v1/leads",
        params={"person_id": rich, "limit": 500, "start": 0, "sort": "add_time DESC,title ASC"},
    )
    client.get(
        "/v1/leads",
        params={
            "updated_since": "2025-01-01T10:20:00Z",
            "organization_id": organization,
            "owner_id": 12,
        },
    )
    client.get("/v1/leads/archived", params={"sort": "update_time DESC"})
    newest: dict[str, str | int] = {"sort_by": "add_time", "sort_direction": "desc", "limit": 1}
    cursor = client.get("/api/v2/persons", params=newest).json()["additional_data"]["next_cursor"]
    client.get("/api/v2/persons", params=newest | {"cursor": cursor})
    client.get(
        "/api/v2/persons",
        params={"org_id": organization, "include_fields": "marketing_status", "ids": f"{rich},99"},
    )
    client.get(f"/api/v2/persons/{rich}")
    client.get(
        "/api/v2/organizations",
        params={"sort_by": "update_time", "updated_since": "2025-01-01T10:20:00Z"},
    )
    client.get(f"/api/v2/organizations/{organization}")
    client.get(
        "/api/v2/persons/search",
        params={"term": "JANE@example.org", "fields": "email,phone", "exact_match": "true"},
    )
    client.get("/api/v2/persons/search", params={"term": "cher", "limit": 1})
    client.get(
        "/api/v2/organizations/search",
        params={"term": "example", "fields": "name,address", "limit": 1},
    )
    client.get("/api/v2/organizations/search", params={"term": "example"})
    client.get(
        "/api/v2/leads/search",
        params={"term": "a lead", "fields": "title,custom_fields", "person_id": rich},
    )
    client.get("/api/v2/leads/search", params={"term": "lead"})


def _metadata(client: httpx.Client) -> None:
    label = data(client.post("/v1/leadLabels", json={"name": "Newsletter", "color": "pink"}))["id"]
    client.patch(f"/v1/leadLabels/{label}", json={"color": "dark-gray"})
    client.patch(f"/v1/leadLabels/{NOBODY}", json={"color": "red"})
    client.get("/v1/leadLabels")
    client.delete(f"/v1/leadLabels/{label}")
    client.delete(f"/v1/leadLabels/{NOBODY}")
    for path in (
        "/v1/leadSources",
        "/v1/leadFields",
        "/v1/users",
        "/v1/users/me",
        "/v1/currencies",
    ):
        client.get(path)
    client.get("/v1/users/me", headers={"x-api-token": "wrong"})
    client.get("/v1/currencies", params={"term": "euro"})
    for owner in ("deal", "person"):
        client.get(f"/api/v2/{owner}Fields")
        client.get(
            f"/api/v2/{owner}Fields",
            params={"limit": 2, "include_fields": "ui_visibility,important_fields,required_fields"},
        )
    client.get("/api/v2/dealFields/channel")
    client.get(
        f"/api/v2/personFields/{custom_key('person', 'Newsletter')}",
        params={"include_fields": "required_fields"},
    )


def _endings(client: httpx.Client, lead: str, rich: int, poor: int, organization: int) -> None:
    conversion = data(client.post(f"/api/v2/leads/{lead}/convert/deal", json={"stage_id": 1}))[
        "conversion_id"
    ]
    client.get(f"/api/v2/leads/{lead}/convert/status/{conversion}")
    client.get(f"/api/v2/leads/{lead}/convert/status/{NOBODY}")
    client.post(f"/api/v2/leads/{lead}/convert/deal", json={})
    for body in ({"person_id": poor}, {"organization_id": organization}):
        other = data(client.post("/v1/leads", json={"title": "To be a deal", **body}))["id"]
        client.post(f"/api/v2/leads/{other}/convert/deal", json={})
    client.get("/api/v2/deals", params={"person_id": rich, "status": "open"})
    client.get("/api/v2/deals", params={"limit": 1})
    client.get("/api/v2/deals")
    for deal, status in zip(data(client.get("/api/v2/deals")), ("won", "lost", "won"), strict=True):
        client.patch(f"/api/v2/deals/{deal['id']}", json={"status": status, "value": 1200.5})
        client.patch(f"/api/v2/deals/{deal['id']}", json={"is_archived": True})
    client.get("/api/v2/deals/archived")
    client.get("/api/v2/deals/archived", params={"limit": 1})
    client.delete(f"/v1/leads/{add_lead(client, poor)}")
    client.delete(f"/v1/leads/{NOBODY}")
    client.delete(f"/api/v2/persons/{poor}")
    client.delete(f"/api/v2/organizations/{organization}")
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    client.post("/oauth/token", data=form, auth=("sandbox-client", "sandbox-secret"))
