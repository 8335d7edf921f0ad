"""What the account does with leads, persons, notes, labels, deals and fields."""

from __future__ import annotations

import re

import httpx
import pytest

from service.sandbox.account.stock import CHANNELS, LABELS, custom_key, label_id
from tests.sandbox.account import ManualClock, add_lead, add_person, data


def test_a_lead_keeps_what_it_is_given(api: httpx.Client) -> None:
    """A created lead has every documented key, the values sent, and `API` as its origin."""
    person = add_person(api)
    size = custom_key("deal", "Company size")
    body = {
        "title": "Acme",
        "person_id": person,
        "label_ids": [label_id("Hot")],
        "owner_id": 12,
        "value": {"amount": 99.5, "currency": "EUR"},
        "expected_close_date": "2026-12-31",
        "visible_to": "1",
        "origin_id": "contact:01",
        "channel": 73,
        "channel_id": "spring",
        size: 101,
    }
    answer = api.post("/v1/leads", json=body)
    assert answer.status_code == 201
    lead = answer.json()["data"]
    assert {key: lead[key] for key in body} == body
    assert (lead["origin"], lead["source_name"], lead["creator_id"], lead["is_archived"]) == (
        "API",
        "API",
        1,
        False,
    )
    assert lead["add_time"] == "2025-10-10T12:00:00.000Z"
    assert api.get(f"/v1/leads/{lead['id'].upper()}").json()["data"] == lead


def test_a_minimal_lead_has_nulls_and_no_custom_fields(api: httpx.Client) -> None:
    """A field that was not sent is null, but an unset custom field is absent."""
    lead = data(api.get(f"/v1/leads/{add_lead(api, add_person(api))}"))
    for name in (
        "organization_id",
        "origin_id",
        "channel",
        "channel_id",
        "value",
        "expected_close_date",
    ):
        assert lead[name] is None
    assert (lead["label_ids"], lead["visible_to"], lead["owner_id"]) == ([], "3", 1)
    assert not [key for key in lead if re.fullmatch("[0-9a-f]{40}", key)]


def test_the_same_lead_twice_makes_two(api: httpx.Client) -> None:
    """An `origin_id` does not prevent a second lead, but the state shows the pair."""
    person = add_person(api)
    ids = [add_lead(api, person, origin_id="contact:01") for _ in range(2)]
    assert len(set(ids)) == 2
    assert api.get("/_sandbox/state").json()["totals"]["duplicates"]["origin_ids"] == {
        "contact:01": ids
    }


def test_labels_are_replaced_not_added(api: httpx.Client) -> None:
    """`label_ids` in a PATCH is the whole new list; other fields stay."""
    lead = add_lead(api, add_person(api), label_ids=[label_id("Hot")], channel_id="spring")
    changed = data(
        api.patch(
            f"/v1/leads/{lead}", json={"label_ids": [label_id("PPC").upper(), label_id("PPC")]}
        )
    )
    assert changed["label_ids"] == [label_id("PPC")]
    assert changed["channel_id"] == "spring"


def test_null_empties(api: httpx.Client, clock: ManualClock) -> None:
    """Null removes a value, a channel and a custom field, and `update_time` moves."""
    budget = custom_key("deal", "Budget")
    lead = add_lead(
        api,
        add_person(api),
        channel=66,
        channel_id="x",
        value={"amount": 1, "currency": "USD"},
        **{budget: "5k"},
    )
    clock.advance(10)
    body = {
        "channel": None,
        "channel_id": None,
        "value": None,
        "expected_close_date": None,
        budget: None,
    }
    changed = data(api.patch(f"/v1/leads/{lead}", json=body))
    assert [changed[name] for name in ("channel", "channel_id", "value")] == [None, None, None]
    assert budget not in changed
    assert changed["update_time"] == "2025-10-10T12:00:10.000Z"


def test_leads_are_listed_by_person_oldest_first(api: httpx.Client, clock: ManualClock) -> None:
    """The list has a lead at once, omits others' and archived leads, and pages by `start`."""
    jane, joe = add_person(api), add_person(api, "Joe", "joe@example.org")
    leads_of_jane = []
    for _ in range(3):
        leads_of_jane.append(add_lead(api, jane))
        clock.advance(1)
        add_lead(api, joe)
        clock.advance(1)
    api.patch(f"/v1/leads/{leads_of_jane[0]}", json={"title": "changed"})
    assert [
        lead["id"] for lead in data(api.get("/v1/leads", params={"person_id": jane}))
    ] == leads_of_jane
    api.patch(f"/v1/leads/{leads_of_jane[1]}", json={"is_archived": True})
    body = api.get("/v1/leads", params={"person_id": jane, "limit": 1}).json()
    assert [lead["id"] for lead in body["data"]] == [leads_of_jane[0]]
    assert body["additional_data"] == {"start": 0, "limit": 1, "more_items_in_collection": True}
    body = api.get("/v1/leads", params={"person_id": jane, "limit": 1, "start": 1}).json()
    assert [lead["id"] for lead in body["data"]] == [leads_of_jane[2]]
    assert body["additional_data"]["more_items_in_collection"] is False
    assert [
        lead["id"] for lead in data(api.get("/v1/leads/archived", params={"person_id": jane}))
    ] == [leads_of_jane[1]]
    newest = api.get("/v1/leads", params={"sort": "add_time DESC", "limit": 1})
    assert data(newest)[0]["person_id"] == joe


def test_leads_changed_since(api: httpx.Client, clock: ManualClock) -> None:
    """`updated_since` returns leads changed at that moment or later."""
    person = add_person(api)
    old = add_lead(api, person)
    clock.advance(60)
    new = add_lead(api, person)
    assert [
        lead["id"]
        for lead in data(api.get("/v1/leads", params={"updated_since": "2025-10-10T12:01:00Z"}))
    ] == [new]
    clock.advance(60)
    api.patch(f"/v1/leads/{old}", json={"title": "changed"})
    assert [
        lead["id"]
        for lead in data(
            api.get("/v1/leads", params={"updated_since": "2025-10-10T14:02:00+02:00"})
        )
    ] == [old]


def test_a_deleted_lead_is_gone(api: httpx.Client) -> None:
    """A delete answers with the id; afterwards the lead is nowhere."""
    lead = add_lead(api, add_person(api))
    assert data(api.delete(f"/v1/leads/{lead}")) == {"id": lead}
    assert api.get(f"/v1/leads/{lead}").status_code == 404
    assert data(api.get("/v1/leads")) == []


def test_a_converted_lead_lives_on_as_a_deal(api: httpx.Client) -> None:
    """Conversion removes the lead; the deal has its attribution, custom fields and notes."""
    person = add_person(api)
    budget = custom_key("deal", "Budget")
    lead = add_lead(
        api, person, origin_id="contact:01", channel=66, channel_id="spring", **{budget: "5k"}
    )
    note = data(api.post("/v1/notes", json={"content": "x", "lead_id": lead}))["id"]
    conversion = data(api.post(f"/api/v2/leads/{lead}/convert/deal"))["conversion_id"]
    status = data(api.get(f"/api/v2/leads/{lead}/convert/status/{conversion}"))
    (deal,) = data(api.get("/api/v2/deals", params={"person_id": person}))
    assert (status["status"], status["deal_id"]) == ("completed", deal["id"])
    assert (deal["origin_id"], deal["channel"], deal["channel_id"]) == ("contact:01", 66, "spring")
    assert (deal["source_lead_id"], deal["custom_fields"]) == (lead, {budget: "5k"})
    assert data(api.get(f"/v1/notes/{note}"))["deal_id"] == deal["id"]
    assert api.get(f"/v1/leads/{lead}").status_code == 404
    assert data(api.get("/v1/leads", params={"person_id": person})) == []


def test_a_deal_is_won_reopened_and_archived(api: httpx.Client) -> None:
    """A won deal is closed, an open one is not; an archived one is in the archive only."""
    api.post(f"/api/v2/leads/{add_lead(api, add_person(api))}/convert/deal")
    (deal,) = data(api.get("/api/v2/deals"))
    path = f"/api/v2/deals/{deal['id']}"
    won = data(api.patch(path, json={"status": "won", "value": 900.5, "currency": "USD"}))
    assert (won["status"], won["value"], won["currency"]) == ("won", 900.5, "USD")
    assert won["won_time"] == won["close_time"] is not None
    opened = data(api.patch(path, json={"status": "open"}))
    assert (opened["won_time"], opened["close_time"]) == (None, None)
    assert api.patch(path, json={"status": "winning"}).status_code == 400
    assert api.patch(path, json={"currency": "XXX"}).status_code == 400
    api.patch(path, json={"is_archived": True})
    assert data(api.get("/api/v2/deals")) == []
    assert [each["id"] for each in data(api.get("/api/v2/deals/archived"))] == [deal["id"]]


def test_persons_are_never_merged(api: httpx.Client) -> None:
    """The same e-mail twice makes two persons, and the state shows the pair."""
    ids = [add_person(api), add_person(api, email="JANE@example.org")]
    assert api.get("/_sandbox/state").json()["totals"]["duplicates"]["emails"] == {
        "jane@example.org": ids
    }


def test_a_person_gets_what_the_server_fills_in(api: httpx.Client) -> None:
    """The server adds the label `work`, a primary e-mail, the name in two parts, and nulls."""
    emails = [{"value": "a@example.org"}, {"value": "b@example.org", "label": "home"}]
    person = data(api.post("/api/v2/persons", json={"name": "Jane van Doe", "emails": emails}))
    assert person["emails"] == [
        {"value": "a@example.org", "primary": True, "label": "work"},
        {"value": "b@example.org", "primary": False, "label": "home"},
    ]
    assert (person["first_name"], person["last_name"]) == ("Jane van", "Doe")
    assert (person["org_id"], person["phones"], person["label_ids"]) == (None, [], [])
    assert person["add_time"] == "2025-10-10T12:00:00Z"
    assert "marketing_status" not in person


def test_marketing_status_changes_only_once(api: httpx.Client) -> None:
    """A second change succeeds without effect; the field is shown only on request."""
    person = add_person(api, marketing_status="subscribed")
    assert (
        api.patch(
            f"/api/v2/persons/{person}", json={"marketing_status": "unsubscribed"}
        ).status_code
        == 200
    )
    person_data = data(
        api.get(f"/api/v2/persons/{person}", params={"include_fields": "marketing_status"})
    )
    assert person_data["marketing_status"] == "subscribed"


def test_newest_persons_first_with_a_cursor(api: httpx.Client, clock: ManualClock) -> None:
    """A cursor skips and repeats nobody when a person is added; the last page has none."""
    ids = []
    for number in range(5):
        ids.append(add_person(api, f"Person {number}"))
        clock.advance(1)
    query: dict[str, str | int] = {"sort_by": "add_time", "sort_direction": "desc", "limit": 2}
    listed_ids: list[int] = []
    cursor = None
    for _ in range(5):
        body = api.get(
            "/api/v2/persons", params=query | ({"cursor": cursor} if cursor else {})
        ).json()
        listed_ids += [person["id"] for person in body["data"]]
        cursor = body["additional_data"]["next_cursor"]
        if cursor is None:
            break
        add_person(api, "Late")
    assert listed_ids == ids[::-1]


def test_a_deleted_person_is_gone_but_its_leads_stay(api: httpx.Client) -> None:
    """After the delete, neither a GET nor a new lead finds the person."""
    person = add_person(api)
    lead = add_lead(api, person)
    assert data(api.delete(f"/api/v2/persons/{person}")) == {"id": person}
    assert api.get(f"/api/v2/persons/{person}").status_code == 404
    assert api.post("/v1/leads", json={"title": "x", "person_id": person}).status_code == 404
    assert data(api.get(f"/v1/leads/{lead}"))["person_id"] == person


def test_custom_fields_of_persons(api: httpx.Client) -> None:
    """Custom fields are merged key by key; null empties one."""
    news, contact = custom_key("person", "Newsletter"), custom_key("person", "Preferred contact")
    person = add_person(api, custom_fields={news: "yes"})
    assert data(api.patch(f"/api/v2/persons/{person}", json={"custom_fields": {contact: 121}}))[
        "custom_fields"
    ] == {
        news: "yes",
        contact: 121,
    }
    assert (
        data(api.patch(f"/api/v2/persons/{person}", json={"custom_fields": {news: None}}))[
            "custom_fields"
        ][news]
        is None
    )


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("<p>Hello <b>you</b></p>", "<p>Hello <b>you</b></p>"),
        ("a<script>alert(1)</script>b", "ab"),
        ("<!-- marker -->x", "x"),
        ('<a href="javascript:alert(1)" onclick="x()">y</a>', "<a>y</a>"),
        (
            '<a href="https://example.org/?a=1&amp;b=2">y</a>',
            '<a href="https://example.org/?a=1&amp;b=2">y</a>',
        ),
        ("<form><input name=x></form>5 &lt; 6 &amp; 7", "5 &lt; 6 &amp; 7"),
        ("line<br>next", "line<br>next"),
        ('<img src="x" onerror="alert(1)">', "<img>"),
        ("<style>p{}</style><P>z</P>", "<p>z</p>"),
    ],
)
def test_notes_are_sanitized(api: httpx.Client, sent: str, stored: str) -> None:
    """A note keeps harmless HTML, without comments, scripts and handlers."""
    note = data(api.post("/v1/notes", json={"content": sent, "person_id": add_person(api)}))
    assert note["content"] == stored
    assert data(api.get(f"/v1/notes/{note['id']}"))["content"] == stored


def test_notes_of_one_lead(api: httpx.Client) -> None:
    """The `lead_id` filter returns the notes of that lead, in pages with `pagination`."""
    person = add_person(api)
    lead_id, other = add_lead(api, person), add_lead(api, person)
    for lead in (lead_id, other, lead_id):
        api.post("/v1/notes", json={"content": f"about {lead}", "lead_id": lead})
    body = api.get("/v1/notes", params={"lead_id": lead_id, "limit": 1}).json()
    assert [note["content"] for note in body["data"]] == [f"about {lead_id}"]
    assert body["additional_data"]["pagination"] == {
        "start": 0,
        "limit": 1,
        "more_items_in_collection": True,
        "next_start": 1,
    }


def test_stock_account(api: httpx.Client) -> None:
    """There are users 1 and 12, labels, channels by id, lead sources and currencies."""
    users = data(api.get("/v1/users"))
    assert [(user["id"], user["is_you"], "@" in user["email"]) for user in users] == [
        (1, True, True),
        (12, False, True),
    ]
    assert [(label["name"], label["color"]) for label in data(api.get("/v1/leadLabels"))] == list(
        LABELS
    )
    options = data(api.get("/api/v2/dealFields/channel"))["options"]
    assert {option["id"]: option["label"] for option in options} == CHANNELS
    assert {"name": "API"} in data(api.get("/v1/leadSources"))
    assert {"EUR", "USD"} <= {currency["code"] for currency in data(api.get("/v1/currencies"))}
    assert data(api.get("/v1/users/me"))["company_domain"] == "sandbox"


def test_currencies_that_are_switched_off(api: httpx.Client) -> None:
    """An inactive currency stays in the list, and a lead in it is refused, until it is active."""
    person = add_person(api)
    body = {"title": "x", "person_id": person, "value": {"amount": 5, "currency": "CHF"}}
    assert api.post("/_sandbox/inactive-currencies", json=["CHF"]).json() == {"inactive": ["CHF"]}
    currencies = data(api.get("/v1/currencies"))
    assert [one["code"] for one in currencies if not one["active_flag"]] == ["CHF"]
    refused = api.post("/v1/leads", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"] == '"value.currency" must be a currency of this company'
    assert api.post("/_sandbox/inactive-currencies", json="CHF").status_code == 400
    assert api.post("/_sandbox/inactive-currencies", json=[]).status_code == 200
    assert api.post("/v1/leads", json=body).status_code == 201


def test_fields_by_name(api: httpx.Client) -> None:
    """Custom fields have a 40-hex key, type and options; only deals list the channel."""
    fields = {field["field_name"]: field for field in data(api.get("/api/v2/dealFields"))}
    assert re.fullmatch("[0-9a-f]{40}", fields["Budget"]["field_code"])
    assert (fields["Budget"]["field_type"], fields["Budget"]["is_custom_field"]) == (
        "varchar",
        True,
    )
    assert {option["label"] for option in fields["Company size"]["options"]} == {
        "1-10",
        "11-50",
        "51-200",
        "201+",
    }
    assert "Newsletter" in {field["field_name"] for field in data(api.get("/api/v2/personFields"))}
    keys = {field["key"] for field in data(api.get("/v1/leadFields"))}
    assert fields["Budget"]["field_code"] in keys
    assert "channel" not in keys


def test_labels_can_be_changed_and_deleted(api: httpx.Client) -> None:
    """A label can be added, renamed and deleted; deleting it takes it off its leads."""
    label = data(api.post("/v1/leadLabels", json={"name": "Fair", "color": "brown"}))["id"]
    assert (
        data(api.patch(f"/v1/leadLabels/{label}", json={"name": "Trade fair"}))["name"]
        == "Trade fair"
    )
    lead = add_lead(api, add_person(api), label_ids=[label, label_id("Hot")])
    assert data(api.delete(f"/v1/leadLabels/{label}")) == {"id": label}
    assert data(api.get(f"/v1/leads/{lead}"))["label_ids"] == [label_id("Hot")]
    assert label not in {item["id"] for item in data(api.get("/v1/leadLabels"))}
