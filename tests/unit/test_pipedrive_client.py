from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from msgspec import structs

from worker.contract import Raw
from worker.errors import (
    Blocked,
    BudgetSpent,
    EndpointGone,
    Gone,
    Invalid,
    LeadlineError,
    OutcomeUnknown,
    PipedriveError,
    RateLimited,
    Reauthorise,
    TooLarge,
    Unauthorized,
    Unavailable,
    WrongAddress,
)
from worker.lead.uploads import UploadedFile, read_uploads
from worker.pipedrive import calls
from worker.pipedrive.auth import ApiToken
from worker.pipedrive.calls import CALLS, Call
from worker.pipedrive.client import (
    DEFAULT_BASE_URL,
    CallReport,
    Pipedrive,
    Unlimited,
    normalize_base_url,
)

BASE = "https://crm.example"
Handler = Callable[[httpx.Request], httpx.Response]


class Rig:
    """A client over a function, with everything it sent, asked and reported."""

    def __init__(
        self,
        answer: Handler,
        *,
        auth: Any = None,
        base: str = BASE,
        timeout: float = 20.0,
        **more: Any,
    ) -> None:
        self.requests: list[httpx.Request] = []
        self.reports: list[CallReport] = []
        self.before_calls: list[str] = []
        self.after_calls: list[tuple[str, int | None, dict[str, str]]] = []
        self.refuse: LeadlineError | None = None
        self._answer = answer
        self.client = Pipedrive(
            httpx.Client(transport=httpx.MockTransport(self._handle)),
            base,
            auth or ApiToken("secret-token"),
            self,
            self.reports.append,
            timeout,
            **more,
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)

    def before(self, call: Call) -> None:
        self.before_calls.append(call.name)
        if self.refuse:
            raise self.refuse

    def after(self, call: Call, status: int | None, headers: Mapping[str, str]) -> None:
        self.after_calls.append((call.name, status, dict(headers)))


def ok(data: Any, status: int = 200, **additional: Any) -> Handler:
    return lambda _: httpx.Response(
        status, json={"success": True, "data": data, "additional_data": additional}
    )


def no(status: int, error: str = "no", headers: Mapping[str, str] | None = None) -> Handler:
    return lambda _: httpx.Response(
        status, json={"success": False, "error": error}, headers=headers
    )


ITEM: dict[str, Any] = {"id": 5}
LEAD: dict[str, Any] = {"id": "l-1"}
FIELD: dict[str, Any] = {"field_code": "channel"}
UPDATE: dict[str, Any] = {"label_ids": [], "channel": None}
OPERATIONS: list[tuple[str, Callable[[Pipedrive], Any], Any, str, dict[str, Any] | None]] = [
    (
        "leads.add",
        lambda c: c.leads.add({"title": "T"}, person_id=5),
        LEAD,
        "/v1/leads",
        {"title": "T", "person_id": 5},
    ),
    ("leads.get", lambda c: c.leads.get("a/b?c"), LEAD, "/v1/leads/a%2Fb%3Fc", None),
    (
        "leads.list",
        lambda c: c.leads.list(person_id=5, limit=9, start=0),
        [LEAD],
        "/v1/leads?limit=9&start=0&person_id=5",
        None,
    ),
    (
        "leads.archived",
        lambda c: c.leads.list_archived(organization_id=6),
        [LEAD],
        "/v1/leads/archived?organization_id=6",
        None,
    ),
    (
        "leads.update",
        lambda c: c.leads.update("x", {"label_ids": []}, channel=None),
        LEAD,
        "/v1/leads/x",
        UPDATE,
    ),
    ("leads.delete", lambda c: c.leads.delete("l-1"), LEAD, "/v1/leads/l-1", None),
    ("labels.list", lambda c: c.labels.list(), [LEAD], "/v1/leadLabels", None),
    (
        "labels.add",
        lambda c: c.labels.add(name="Hot", color="red"),
        LEAD,
        "/v1/leadLabels",
        {"name": "Hot", "color": "red"},
    ),
    (
        "labels.update",
        lambda c: c.labels.update("x", color="blue"),
        LEAD,
        "/v1/leadLabels/x",
        {"color": "blue"},
    ),
    ("labels.delete", lambda c: c.labels.delete("x"), LEAD, "/v1/leadLabels/x", None),
    ("sources.list", lambda c: c.sources.list(), [{"name": "API"}], "/v1/leadSources", None),
    (
        "notes.add",
        lambda c: c.notes.add(content="x", lead_id="l-1"),
        ITEM,
        "/v1/notes",
        {"content": "x", "lead_id": "l-1"},
    ),
    ("notes.list", lambda c: c.notes.list(lead_id="l-1"), [ITEM], "/v1/notes?lead_id=l-1", None),
    ("users.me", lambda c: c.users.me(), ITEM, "/v1/users/me", None),
    ("users.list", lambda c: c.users.list(), [ITEM], "/v1/users", None),
    ("currencies.list", lambda c: c.currencies.list(), [{"code": "EUR"}], "/v1/currencies", None),
    ("persons.add", lambda c: c.persons.add(name="Zoë"), ITEM, "/api/v2/persons", {"name": "Zoë"}),
    ("persons.get", lambda c: c.persons.get(5), ITEM, "/api/v2/persons/5", None),
    ("persons.delete", lambda c: c.persons.delete(5), ITEM, "/api/v2/persons/5", None),
    (
        "persons.update",
        lambda c: c.persons.update(5, {"org_id": 7}),
        ITEM,
        "/api/v2/persons/5",
        {"org_id": 7},
    ),
    (
        "persons.search",
        lambda c: c.persons.search(term="a+b@c.example", fields="email", exact_match=True),
        {"items": [{"item": ITEM}]},
        "/api/v2/persons/search?term=a%2Bb%40c.example&fields=email&exact_match=true",
        None,
    ),
    (
        "persons.list",
        lambda c: c.persons.list(sort_by="add_time", sort_direction="desc", limit=5, cursor="x="),
        [ITEM],
        "/api/v2/persons?sort_by=add_time&sort_direction=desc&limit=5&cursor=x%3D",
        None,
    ),
    (
        "organizations.add",
        lambda c: c.organizations.add({"name": "Acme"}),
        ITEM,
        "/api/v2/organizations",
        {"name": "Acme"},
    ),
    ("organizations.get", lambda c: c.organizations.get(5), ITEM, "/api/v2/organizations/5", None),
    (
        "organizations.update",
        lambda c: c.organizations.update(5, {"website": "acme.example"}),
        ITEM,
        "/api/v2/organizations/5",
        {"website": "acme.example"},
    ),
    (
        "organizations.search",
        lambda c: c.organizations.search(term="Acme & Co", exact_match=False),
        {"items": [{"item": ITEM}]},
        "/api/v2/organizations/search?term=Acme+%26+Co&exact_match=false",
        None,
    ),
    (
        "organizations.list",
        lambda c: c.organizations.list(limit=5),
        [ITEM],
        "/api/v2/organizations?limit=5",
        None,
    ),
    ("deals.list", lambda c: c.deals.list(person_id=5), [ITEM], "/api/v2/deals?person_id=5", None),
    (
        "deals.archived",
        lambda c: c.deals.list_archived(limit=5, cursor="x="),
        [ITEM],
        "/api/v2/deals/archived?limit=5&cursor=x%3D",
        None,
    ),
    (
        "deals.update",
        lambda c: c.deals.update(5, {"label_ids": [1]}),
        ITEM,
        "/api/v2/deals/5",
        {"label_ids": [1]},
    ),
    (
        "files.list",
        lambda c: c.files.list_newest(),
        [ITEM],
        "/v1/files?sort=update_time+DESC&limit=100",
        None,
    ),
    (
        "deal_fields.list",
        lambda c: c.deal_fields.list(limit=500),
        [FIELD],
        "/api/v2/dealFields?limit=500",
        None,
    ),
    (
        "deal_fields.get",
        lambda c: c.deal_fields.get("channel"),
        FIELD,
        "/api/v2/dealFields/channel",
        None,
    ),
    ("person_fields.list", lambda c: c.person_fields.list(), [FIELD], "/api/v2/personFields", None),
    (
        "person_fields.get",
        lambda c: c.person_fields.get("label_ids"),
        FIELD,
        "/api/v2/personFields/label_ids",
        None,
    ),
]


@pytest.mark.parametrize(
    ("name", "use", "data", "target", "body"), OPERATIONS, ids=[row[0] for row in OPERATIONS]
)
def test_operation(
    name: str, use: Callable[[Pipedrive], Any], data: Any, target: str, body: dict[str, Any] | None
) -> None:
    """Each operation sends its method, path, parameters and body, and reads its answer."""
    rig = Rig(ok(data))
    assert use(rig.client) is not None
    (request,) = rig.requests
    call = CALLS[name]
    assert (request.method, request.url.raw_path.decode()) == (call.method, target)
    assert (json.loads(request.content) if request.content else None) == body
    assert request.headers.get("content-type") == ("application/json" if body is not None else None)
    assert request.headers["x-api-token"] == "secret-token"
    assert "secret-token" not in str(request.url)
    assert rig.before_calls == [name]
    assert [
        (report.call, report.outcome, report.status, report.cost) for report in rig.reports
    ] == [(name, "ok", 200, call.cost)]


def test_a_file_is_sent_in_a_form() -> None:
    """A body with a file in it is multipart/form-data, with the other fields as text."""
    rig = Rig(ok(ITEM))
    upload = UploadedFile("cv.pdf", "application/pdf", b"%PDF-1.7")
    assert rig.client.files.add({"lead_id": "abc", "file": upload}).id == ITEM["id"]
    (request,) = rig.requests
    assert (request.method, request.url.path) == ("POST", "/v1/files")
    content_type = request.headers["content-type"]
    assert content_type.startswith("multipart/form-data; boundary=")
    [sent] = read_uploads(Raw("POST", "", content_type, [], request.content)).files
    assert sent == upload
    assert b'name="lead_id"\r\n\r\nabc\r\n' in request.content


def test_every_operation_is_covered() -> None:
    """No operation is without its row above; a file has a test of its own."""
    assert {row[0] for row in OPERATIONS} | {"files.add"} == set(CALLS)


def test_results_are_typed() -> None:
    """What an operation answers comes as a struct with its fields."""
    lead = Rig(ok({"id": "l-1", "origin_id": "web:01"}, 201)).client.leads.add(
        title="T", person_id=1
    )
    assert (lead.id, lead.origin_id) == ("l-1", "web:01")
    assert Rig(ok({"id": "l-1"})).client.leads.delete("l-1") == "l-1"
    assert [label.name for label in Rig(ok([{"id": "a", "name": "Hot"}])).client.labels.list()] == [
        "Hot"
    ]
    assert [
        hit.id for hit in Rig(ok({"items": [{"item": {"id": 5}}]})).client.persons.search(term="x")
    ] == [5]


def test_all_leads_of_a_person() -> None:
    """The leads of a person are read page by page, as many at once as Pipedrive gives."""

    def pages(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params["start"])
        more = {"start": start, "limit": 2, "more_items_in_collection": start == 0}
        data = [{"id": f"l-{start}"}, {"id": f"l-{start + 1}"}]
        return httpx.Response(200, json={"success": True, "data": data, "additional_data": more})

    rig = Rig(pages)
    assert [lead.id for lead in rig.client.leads.list_all(person_id=5)] == [
        "l-0",
        "l-1",
        "l-2",
        "l-3",
    ]
    assert {request.url.params["limit"] for request in rig.requests} == {"500"}
    assert [lead.id for lead in rig.client.leads.list_all_archived(organization_id=5)] == [
        "l-0",
        "l-1",
        "l-2",
        "l-3",
    ]
    assert rig.requests[-1].url.path == "/v1/leads/archived"


@pytest.mark.parametrize("largest", [7, 1])
def test_fields_with_many_options_are_read_in_smaller_pages(
    largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of fields that is too large is read again in smaller ones, down to a single field."""
    monkeypatch.setattr(
        calls, "DEAL_FIELDS_LIST", structs.replace(calls.DEAL_FIELDS_LIST, max_bytes=1000)
    )

    def pages(request: httpx.Request) -> httpx.Response:
        start, limit = int(request.url.params.get("cursor", 0)), int(request.url.params["limit"])
        size = "x" * (100 if limit <= largest else 2000)
        data = [
            {"field_code": f"f{n}", "field_name": size}
            for n in range(start, min(20, start + min(limit, 5)))
        ]
        end = start + len(data)
        more = {"next_cursor": str(end) if end < 20 else None}
        return httpx.Response(200, json={"success": True, "data": data, "additional_data": more})

    rig = Rig(pages)
    fields = [field.field_code for field in rig.client.deal_fields.list_all()]
    assert fields == [f"f{number}" for number in range(20)]


def test_a_single_field_that_is_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large in a page of its own cannot be read."""
    small = structs.replace(calls.PERSON_FIELDS_LIST, max_bytes=100)
    monkeypatch.setattr(calls, "PERSON_FIELDS_LIST", small)
    rig = Rig(ok([{"field_code": "x" * 200}]))
    with pytest.raises(TooLarge):
        list(rig.client.person_fields.list_all())
    assert [request.url.params["limit"] for request in rig.requests] == [
        "500",
        "100",
        "20",
        "4",
        "1",
    ]


@pytest.mark.parametrize(
    ("use", "sent_ids"),
    [
        (
            lambda c: c.leads.add(
                {"title": "T", "person_id": 5, "label_ids": ["a"], "a" * 40: "b"}
            ),
            {"title": None, "person_id": 5, "label_ids": None, "a" * 40: None},
        ),
        (lambda c: c.leads.update("l-1", {"channel": 6}), {"channel": None, "lead_id": "l-1"}),
        (lambda c: c.leads.list(person_id=5), {"person_id": 5}),
        (
            lambda c: c.persons.add(name="Jane", org_id=6, custom_fields={"b" * 40: "c"}),
            {"name": None, "org_id": 6, "custom_fields": None, "b" * 40: None},
        ),
    ],
)
def test_an_error_says_which_ids_were_sent(
    use: Callable[[Pipedrive], Any], sent_ids: dict[str, Any]
) -> None:
    """The ids of records in path, query and body, and the names of all other fields."""
    with pytest.raises(Invalid) as caught:
        use(Rig(no(400)).client)
    assert caught.value.sent_ids == sent_ids


def test_newest_persons_and_deals() -> None:
    """The newest are asked for newest first; deals of a person with the lead they came from."""
    rig = Rig(ok([{"id": 1, "add_time": "2024-01-01T00:00:00Z"}]))
    assert [person.id for person in rig.client.persons.list_newest(since=0.0)] == [1]
    assert [
        organization.id for organization in rig.client.organizations.list_newest(since=0.0)
    ] == [1]
    assert [deal.id for deal in rig.client.deals.list_all(person_id=3)] == [1]
    for request in rig.requests[:2]:
        assert (request.url.params["sort_by"], request.url.params["sort_direction"]) == (
            "add_time",
            "desc",
        )
    assert rig.requests[2].url.params["include_fields"] == "source_lead_id"


@pytest.mark.parametrize(
    ("use", "answer", "expected"),
    [
        (lambda c: c.leads.add(title="T"), ok(None, 201), OutcomeUnknown),
        (lambda c: c.leads.add(title="T"), ok({"title": "no id"}, 201), OutcomeUnknown),
        (lambda c: c.leads.get("x"), ok({"title": "no id"}), Unavailable),
        (lambda c: c.leads.list(), ok({"id": "x"}), Unavailable),
        (lambda c: c.leads.add(title="T"), no(200), OutcomeUnknown),
        (lambda c: c.leads.update("x", {}), no(200), Unavailable),
        (lambda c: c.leads.add(title="T"), no(500), OutcomeUnknown),
        (lambda c: c.leads.add(title="T"), no(404), EndpointGone),
        (lambda c: c.leads.add(title="T", person_id=5), no(404), EndpointGone),
        (lambda c: c.leads.add(title="T", person_id=5), no(404, "Person not found"), Gone),
        (lambda c: c.leads.get("x"), no(404), Gone),
        (lambda c: c.notes.list(lead_id="x"), no(404), Gone),
        (lambda c: c.notes.list(), no(404), EndpointGone),
        (lambda c: c.users.me(), lambda _: httpx.Response(200, html="<html>"), WrongAddress),
        (lambda c: c.leads.add(title="T"), no(400), Invalid),
        (lambda c: c.leads.add(title="T"), no(401), Unauthorized),
        (lambda c: c.users.me(), no(429), RateLimited),
        (
            lambda c: c.users.me(),
            no(429, headers={"X-Daily-Ratelimit-Token-Remaining": "0"}),
            BudgetSpent,
        ),
        (lambda c: c.users.me(), lambda _: httpx.Response(403, html="<html>"), Blocked),
    ],
)
def test_errors(
    use: Callable[[Pipedrive], Any], answer: Handler, expected: type[PipedriveError]
) -> None:
    """Each answer becomes its error, which the report and the limits hear of too."""
    rig = Rig(answer)
    with pytest.raises(expected) as caught:
        use(rig.client)
    assert type(caught.value) is expected
    (report,) = rig.reports
    assert (report.outcome, report.status, report.detail) == (
        expected.code,
        caught.value.status,
        caught.value.detail,
    )
    assert rig.after_calls[0][1] == caught.value.status


def test_limits_hear_headers() -> None:
    """Limits get each answer's headers in lower case, and none where no answer came."""
    rig = Rig(no(429, headers={"X-RateLimit-Reset": "2"}))
    with pytest.raises(RateLimited) as caught:
        rig.client.users.me()
    assert caught.value.retry_after == 2
    assert rig.after_calls[0][2]["x-ratelimit-reset"] == "2"

    def broken(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    rig = Rig(broken)
    with pytest.raises(OutcomeUnknown):
        rig.client.leads.add(title="T")
    assert rig.after_calls == [("leads.add", None, {})]
    assert rig.reports[0].status is None


def test_limits_forbid() -> None:
    """What the limits forbid is not sent, not reported and not told."""
    rig = Rig(ok(LEAD))
    rig.refuse = RateLimited("leads.add", "wait", retry_after=2)
    with pytest.raises(RateLimited):
        rig.client.leads.add(title="T")
    assert (rig.requests, rig.reports, rig.after_calls) == ([], [], [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(status: int) -> None:
    """A redirect is an error; neither the token nor the request goes anywhere else."""
    rig = Rig(
        lambda _: httpx.Response(status, headers={"location": "https://evil.example/v1/leads"})
    )
    with pytest.raises(OutcomeUnknown, match=r"redirected to evil\.example"):
        rig.client.leads.add(title="T")
    assert [request.url.host for request in rig.requests] == ["crm.example"]


def test_redirects_with_a_client_that_follows() -> None:
    """Even an HTTP client that was set to follow redirects does not."""
    rig = Rig(lambda _: httpx.Response(302, headers={"location": "https://evil.example/"}))
    rig.client._http.follow_redirects = True
    with pytest.raises(WrongAddress):
        rig.client.users.me()
    assert len(rig.requests) == 1


class Renewing:
    """Credentials of an app that can be renewed once."""

    rejection = Reauthorise

    def __init__(self, renewable: bool = True, error: PipedriveError | None = None) -> None:
        self.token, self.renewable, self.refusals, self.error = "old", renewable, 0, error

    def headers(self) -> dict[str, str]:
        if self.error:
            raise self.error
        return {"authorization": f"Bearer {self.token}"}

    def renew(self) -> bool:
        self.refusals += 1
        self.token = "new"
        return self.renewable

    def base_url(self) -> str | None:
        return "https://acme.pipedrive.com"


def test_renewed_credentials() -> None:
    """After a 401 a call is repeated once with new credentials, even if it is a create."""
    auth = Renewing()
    rig = Rig(
        lambda r: (ok(LEAD) if r.headers["authorization"] == "Bearer new" else no(401))(r),
        auth=auth,
    )
    assert rig.client.leads.add(title="T").id == "l-1"
    assert [report.outcome for report in rig.reports] == ["unauthorized", "ok"]
    assert rig.before_calls == ["leads.add", "leads.add"]


@pytest.mark.parametrize(("renewable", "sent"), [(True, 2), (False, 1)])
def test_refused_for_good(renewable: bool, sent: int) -> None:
    """Refused again, or without better credentials, it stays refused."""
    auth = Renewing(renewable)
    rig = Rig(no(401), auth=auth)
    with pytest.raises(Reauthorise) as caught:
        rig.client.users.me()
    assert (len(rig.requests), auth.refusals) == (sent, 1)
    assert (caught.value.call, caught.value.status) == ("users.me", 401)


@pytest.mark.parametrize(
    ("auth", "variable"),
    [(None, "PIPEDRIVE_API_TOKEN"), ("app", "PIPEDRIVE_REFRESH_TOKEN")],
)
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_named(auth: str | None, variable: str, status: int) -> None:
    """Whoever uses an API token is told of it, and whoever connected an app of the app's."""
    rig = Rig(no(status), auth=Renewing(renewable=False) if auth else None)
    with pytest.raises(Unauthorized) as caught:
        rig.client.check_credentials()
    assert (caught.value.variable, caught.value.status) == (variable, status)


def test_reauthorise_is_not_repeated() -> None:
    """Where a person must connect the app again, nothing is sent and nothing renewed."""
    auth = Renewing(error=Reauthorise("oauth.refresh", "gone"))
    rig = Rig(ok(LEAD), auth=auth)
    with pytest.raises(Reauthorise):
        rig.client.leads.add(title="T")
    assert (rig.requests, rig.before_calls, auth.refusals) == ([], [], 0)


@pytest.mark.parametrize(
    ("base", "host"),
    [(DEFAULT_BASE_URL, "acme.pipedrive.com"), ("https://crm.example", "crm.example")],
)
def test_company_base(base: str, host: str) -> None:
    """The company's own address is used where nothing else was configured."""
    rig = Rig(ok(ITEM), auth=Renewing(), base=base)
    rig.client.users.me()
    assert rig.requests[0].url.host == host


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://api.pipedrive.com", "https://api.pipedrive.com"),
        (" https://api.pipedrive.com/ ", "https://api.pipedrive.com"),
        ("https://acme.pipedrive.com/api", "https://acme.pipedrive.com"),
        ("https://acme.pipedrive.com/api/v1/", "https://acme.pipedrive.com"),
        ("https://acme.pipedrive.com/api/v2", "https://acme.pipedrive.com"),
        ("https://api.pipedrive.com/v1", "https://api.pipedrive.com"),
        ("http://127.0.0.1:4011/pipedrive/", "http://127.0.0.1:4011/pipedrive"),
    ],
)
def test_base(text: str, base: str) -> None:
    """A base is taken as people write it, with a slash or version at its end."""
    assert normalize_base_url(text) == base
    rig = Rig(ok(ITEM), base=text)
    rig.client.users.me()
    assert str(rig.requests[0].url) == base + "/v1/users/me"


@pytest.mark.parametrize(
    "text", ["", "api.pipedrive.com", "ftp://x", "https://", "https://user:pw@api.pipedrive.com"]
)
def test_no_base(text: str) -> None:
    """What is no address of a server is refused at once, without being shown."""
    with pytest.raises(ValueError, match="expected an http") as caught:
        Rig(ok(ITEM), base=text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", object(), {1: object()}])
def test_unwritable(value: Any) -> None:
    """A body that is no JSON is refused before anything is sent, without quoting it."""
    rig = Rig(ok(LEAD))
    with pytest.raises(Invalid):
        rig.client.leads.add(title=value)
    assert (rig.requests, rig.before_calls) == ([], [])


def test_body_is_utf8() -> None:
    """Text goes out as UTF-8, as it is."""
    rig = Rig(ok(LEAD))
    rig.client.leads.add(title="Žoë 🎉")
    assert "Žoë 🎉".encode() in rig.requests[0].content


def test_echo_is_hidden() -> None:
    """What a request held does not come back in the error, the report or the log of calls."""
    rig = Rig(no(400, "\"emails\" has the bad value 'ann.lee@acme.example' of Ann Lee"))
    with pytest.raises(Invalid) as caught:
        rig.client.persons.add(name="Ann Lee", emails=[{"value": "ann.lee@acme.example"}])
    assert caught.value.field == "emails"
    assert "ann" not in (str(caught.value) + str(rig.reports)).lower()


def test_search_term_is_hidden() -> None:
    """The term of a search is personal too."""
    rig = Rig(no(400, "term John Longname is too long"))
    with pytest.raises(Invalid) as caught:
        rig.client.persons.search(term="John Longname", fields="name")
    assert "Longname" not in str(caught.value)


def test_time_is_up_between_chunks() -> None:
    """The time limit is looked at between the pieces of an answer."""
    now = [0.0]

    class Slow(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            for piece in (b'{"success":true,', b'"data":{"id":5}}'):
                now[0] += 3.0
                yield piece

    answer = httpx.Response(200, stream=Slow())
    assert Rig(lambda _: answer, clock=lambda: now[0], timeout=7.0).client.users.me().id == 5
    rig = Rig(lambda _: httpx.Response(200, stream=Slow()), clock=lambda: now[0], timeout=5.0)
    with pytest.raises(Unavailable, match="time is up"):
        rig.client.users.me()
    assert rig.reports[0].duration_ms == 6000


def test_token_does_not_show() -> None:
    """Credentials do not stand in representations."""
    assert "secret" not in repr(ApiToken("secret-token"))
    assert Unlimited().before(CALLS["users.me"]) is None  # type: ignore[func-returns-value]
