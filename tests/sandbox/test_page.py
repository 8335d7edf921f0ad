"""The page for people, and the state for programs."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx
import pytest

from service.sandbox.account.stock import label_id
from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import add_lead, add_person
from tests.sandbox.conftest import Opener

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "' onmouseover='alert(1)",
    "</td></tr></table><h1>out</h1>",
    "&lt;b&gt;",
    "\u202egnp.exe",
]
TEXT = {"a", "br", "code", "h1", "h2", "p", "small", "span", "strong", "title"}
FRAME = {"html", "head", "meta", "link", "body", "header", "main", "section", "div"}
LISTS = {"dl", "dt", "dd", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}


class Elements(HTMLParser):
    """The elements and attributes that a browser would see, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_empty_account_says_how_to_begin(api: httpx.Client) -> None:
    """An empty account says how to begin; the page reloads itself unless told not to."""
    page = api.get("/")
    assert page.status_code == 200
    assert "No leads yet" in page.text
    assert '<meta http-equiv="refresh" content="5">' in page.text
    assert "http-equiv" not in api.get("/?refresh=0").text
    assert api.get("/?refresh=nonsense").status_code == 200


def test_the_page_shows_a_lead_with_its_attribution(api: httpx.Client) -> None:
    """The page shows a lead with person, labels, channel, ids, note and call."""
    person = add_person(api)
    lead = add_lead(
        api,
        person,
        title="Roof repair",
        label_ids=[label_id("Website")],
        channel=66,
        channel_id="spring",
        origin_id="contact:01",
        value={"amount": 1200, "currency": "EUR"},
    )
    api.post(
        "/v1/notes",
        json={"content": "<p>Please call<br>at 5 &lt; 6</p><p>Thanks</p>", "lead_id": lead},
    )
    elements = Elements(api.get("/").text)
    for text in (
        "Roof repair",
        "Jane Doe",
        "jane@example.org",
        "Website",
        "Web forms",
        "66",
        "spring",
        "contact:01",
        "1200 EUR",
    ):
        assert text in elements.text
    for text in (
        "2025-10-10 12:00:00",
        "Please call\nat 5 < 6\nThanks",
        "leads.add",
        "POST /v1/leads",
        "201",
    ):
        assert text in elements.text


@pytest.mark.parametrize("text", HOSTILE)
def test_stored_text_stays_text(api: httpx.Client, text: str) -> None:
    """No stored text becomes an element or an attribute."""
    person = add_person(api, text, text)
    add_lead(
        api, person, title=text, channel_id=text, origin_id=text, label_ids=[_label(api, text)]
    )
    api.post("/v1/notes", json={"content": text, "person_id": person})
    api.get("/v1/leads", params={"sort": text})
    page = api.get("/")
    elements = Elements(page.text)
    assert set(elements.names) <= TEXT | FRAME | LISTS
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "src"]
    assert elements.names.count("h1") == 1
    assert text in elements.text
    assert "49" not in elements.text


def test_the_page_loads_nothing_from_elsewhere(api: httpx.Client) -> None:
    """The page has one style sheet, no scripts, and a policy that allows nothing else."""
    page = api.get("/")
    elements = Elements(page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "script" not in elements.names
    assert "style" not in [name for name, _ in elements.attributes]
    (sheet,) = [
        value
        for name, value in elements.attributes
        if name == "href" and str(value).endswith(".css")
    ]
    answer = api.get(str(sheet))
    assert answer.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in answer.text
    assert "http" not in answer.text


def test_duplicates_and_faults_are_pointed_out(open_sandbox: Opener) -> None:
    """The page warns of a shared origin_id and of active faults, and shows the daily budget."""
    api = open_sandbox(SandboxSettings(daily_tokens=5000))
    person = add_person(api)
    for _ in range(2):
        add_lead(api, person, origin_id="contact:01")
    api.post("/_sandbox/faults", json={"match": {"count": 1}, "effect": {"kind": "drop-before"}})
    text = Elements(api.get("/").text).text
    assert "1 origin_id shared by several leads" in text
    assert "1 fault rule in force" in text
    assert "25 of 5000" in " ".join(text.split())


def test_the_state_lists_calls_in_full(api: httpx.Client) -> None:
    """The state lists calls with request, status, tokens and time, or only the latest ones."""
    person = add_person(api)
    api.get("/v1/leads", params={"person_id": person})
    api.post("/v1/leads", content=b"\xff{", headers={"content-type": "application/json"})
    api.get("/v1/nothing")
    calls = api.get("/_sandbox/state").json()["calls"]
    assert calls[0] == {
        "number": 1,
        "at": 1760097600.0,
        "operation": "persons.add",
        "method": "POST",
        "path": "/api/v2/persons",
        "query": "",
        "body": {"name": "Jane Doe", "emails": [{"value": "jane@example.org"}]},
        "status": 200,
        "tokens": 5,
        "performed": True,
        "fault": None,
    }
    assert (calls[1]["operation"], calls[1]["query"], calls[1]["tokens"]) == (
        "leads.list",
        "person_id=1",
        20,
    )
    assert (calls[2]["status"], calls[2]["body"]) == (400, "\ufffd{")
    assert (calls[3]["operation"], calls[3]["status"]) == (None, 404)
    assert [call["number"] for call in api.get("/_sandbox/state?calls=2").json()["calls"]] == [3, 4]
    assert api.get("/_sandbox/state?calls=0").json()["calls"] == []


def test_the_log_is_bounded_and_the_sums_are_not(open_sandbox: Opener) -> None:
    """Only the latest calls are logged; the totals count all of them."""
    api = open_sandbox(SandboxSettings(remembered_calls=3))
    for _ in range(5):
        api.get("/v1/leadSources")
    state = api.get("/_sandbox/state").json()
    assert len(state["calls"]) == 3
    assert state["totals"]["calls_by_operation"] == {"sources.list": 5}
    assert state["totals"]["answers_by_status"] == {"200": 5}


def test_a_reset_forgets_everything(api: httpx.Client) -> None:
    """After a reset there is the stock account, no call, and no token spent."""
    add_lead(api, add_person(api))
    label = _label(api, "mine")
    assert api.post("/_sandbox/reset").status_code == 200
    state = api.get("/_sandbox/state").json()
    assert [state[kind] for kind in ("leads", "persons", "calls")] == [[], [], []]
    assert label not in {item["id"] for item in state["labels"]}
    assert (
        state["totals"]["tokens"],
        state["totals"]["tokens_today"],
        state["totals"]["max_calls_in_2s"],
    ) == (0, 0, 0)
    assert add_person(api) == 1


def _label(api: httpx.Client, name: str) -> str:
    return str(
        api.post("/v1/leadLabels", json={"name": name, "color": "gray"}).json()["data"]["id"]
    )
