"""From one request to its result."""

from __future__ import annotations

import pytest

from service.sources.normalize import normalize, process_request
from service.sources.request import InboundRequest, Outcome
from tests.unit.sources.factories import JSON, NOW, form, json_post, post, read, source


@pytest.mark.parametrize(
    ("request_", "toml", "status"),
    [
        (post(b""), "", 400),
        (post(b"{}", JSON), "", 400),
        (post(b"[]", JSON), "", 400),
        (post(b"5", JSON), "", 400),
        (post(b'"x"', JSON), "", 400),
        (post(b"null", JSON), "", 400),
        (post(b'[1, {"email": "a@b.example"}]', JSON), "", 400),
        (post(b'{"data": {}}', JSON), "", 400),
        (post(b"<a/>", "text/xml"), "", 415),
        (post(b"name=" + b"a" * 100), "max_body = 100", 413),
        (post(b"data=%7B"), '[sources.x.read]\njson_param = "data"', 400),
    ],
)
def test_unreadable(request_: InboundRequest, toml: str, status: int) -> None:
    """A body without fields, or one that cannot be decoded, is unreadable, with the reason."""
    result = read(request_, toml)
    assert (result.outcome, result.status, result.events) == (Outcome.UNREADABLE, status, [])
    assert result.detail
    assert result.field_errors


def test_refused() -> None:
    """A wrong secret is refused before the body is read, and the sender learns no reason."""
    config = source(
        '[sources.x.verify]\nscheme = "token"\nheader = "X-Key"\nsecret_env = "KEY"', KEY="k"
    )
    result = process_request(config, post(b"\xff", JSON, x_key="no"), NOW)
    assert (result.outcome, result.status, result.reason) == (
        Outcome.REFUSED,
        401,
        "the token is wrong",
    )
    assert "wrong." in (result.detail or "")
    assert normalize(config, form(name="A"), NOW).outcome is Outcome.LEAD


def test_other_methods() -> None:
    """A source without a handshake answers 405 to anything but POST."""
    request = InboundRequest(method="GET", query="", headers=[], body=b"")
    assert (read(request).outcome, read(request).status) == (Outcome.REFUSED, 405)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Ann"},
        {"email": "a@b.example"},
        {"phone": "12345"},
        {"company": "ACME"},
        {"prénom": "Zoé"},
    ],
)
def test_lead(fields: dict[str, str]) -> None:
    """Any way to reach somebody makes a lead."""
    result = read(form(**fields))
    assert (result.outcome, result.status, result.field_errors) == (Outcome.LEAD, 202, [])


def test_no_contact() -> None:
    """With nobody to reach, the fields that would help are named, the wrong one first."""
    result = read(form(message="Hi", mail="nobody at all"))
    assert result.outcome is Outcome.NO_CONTACT
    assert [problem.field for problem in result.field_errors] == [
        "email",
        "phone",
        "name",
        "company",
    ]
    assert result.field_errors[0].message == "mail is not an e-mail address"
    assert result.events[0].lead is not None
    assert result.events[0].lead.answers == {"mail": "nobody at all"}


@pytest.mark.parametrize(
    ("fields", "spam"),
    [
        ({"website": "http://spam.example"}, True),
        ({"website": " "}, False),
        ({"_started": str(int(NOW) - 2)}, True),
        ({"_started": str(int(NOW * 1000) - 2_999)}, True),
        ({"_started": str(int(NOW) - 3)}, False),
        ({"_started": str(int(NOW) + 5)}, False),
        ({"_started": "soon"}, False),
        ({"_started": "9" * 400}, False),
        ({}, False),
    ],
)
def test_spam(fields: dict[str, str], spam: bool) -> None:
    """A filled honeypot or an impossibly quick fill is spam; a wrong clock proves nothing."""
    [event] = (
        result := read(form(name="A", **fields), 'honeypot = "website"\nmin_fill_seconds = 3')
    ).events
    assert result.outcome is (Outcome.SPAM if spam else Outcome.LEAD)
    assert bool(event.reason) is spam
    assert event.lead is not None
    assert "website" not in event.lead.answers


READ = """
[sources.x.read]
root = "data"
event_id = "id"
only = { at = "type", equals = ["form.submitted", 7] }
test = { at = "live", equals = false }
"""


@pytest.mark.parametrize(
    ("extra", "outcome"),
    [
        ({"type": "form.submitted"}, Outcome.LEAD),
        ({"type": "7"}, Outcome.LEAD),
        ({"type": 7, "live": True}, Outcome.LEAD),
        ({"type": 7, "live": False}, Outcome.NO_LEAD),
        ({"type": "form.deleted"}, Outcome.NO_LEAD),
        ({}, Outcome.NO_LEAD),
    ],
)
def test_only_and_test(extra: dict[str, object], outcome: Outcome) -> None:
    """Genuine events of other kinds, and tests, make no lead and say why."""
    [event] = (
        result := read(
            json_post({"id": 12345678901234567890, "data": {"name": "A"}, **extra}), READ
        )
    ).events
    assert result.outcome is outcome
    assert (event.reason is None) is (outcome is Outcome.LEAD)
    assert event.event_id == "12345678901234567890"
    assert event.lead is not None
    assert event.lead.is_test is (extra.get("live") is False)


def test_root() -> None:
    """Matching starts at the root; what surrounds it comes after, and nothing is lost."""
    [event] = read(
        json_post(
            {"email": "shop@b.example", "data": {"email": "a@b.example", "size": 3}, "shop": 9}
        ),
        READ,
    ).events
    assert event.lead is not None
    assert event.lead.email == "a@b.example"
    assert event.lead.answers == {"size": "3", "email": "shop@b.example", "shop": "9"}


@pytest.mark.parametrize(
    ("body", "toml", "ids", "names"),
    [
        ([{"name": "A"}, {"name": "B"}], "", [None, None], ["A", "B"]),
        (
            [{"name": "A", "id": 1}, {"name": "B", "id": 2}],
            '[sources.x.read]\nevent_id = "id"',
            ["1", "2"],
            ["A", "B"],
        ),
        (
            {"id": 9, "data": [{"name": "A"}, {"name": "B"}]},
            '[sources.x.read]\nroot = "data"\nevent_id = "id"',
            ["9#0", "9#1"],
            ["A", "B"],
        ),
        (
            {"data": [{"name": "A", "id": 1}]},
            '[sources.x.read]\nroot = "data"\nevent_id = "id"',
            ["1"],
            ["A"],
        ),
        ([{"name": "A"}, {"name": "B"}], '[sources.x.map]\n"1.name" = "name"', [None], ["B"]),
    ],
)
def test_several_events(body: object, toml: str, ids: list[str | None], names: list[str]) -> None:
    """Each object of a list is an event, unless the source addresses the list itself."""
    events = read(json_post(body), f'[sources.x]\nadapter = "json"\n{toml}').events
    assert [event.event_id for event in events] == ids
    assert [event.lead.name for event in events if event.lead] == names


def test_too_many_events() -> None:
    """A JSON source takes a hundred events, a form one; the refusal says the bound and the count."""
    as_json = 'adapter = "json"'
    assert len(read(json_post([{"name": "A"}] * 100), as_json).events) == 100
    assert len(read(json_post([{"name": "A"}])).events) == 1
    for count, bound, toml in ((101, "100 events", as_json), (100, "1 event", "")):
        refused = read(json_post([{"name": "A"}] * count), toml)
        assert (refused.outcome, refused.status) == (Outcome.UNREADABLE, 422)
        assert f"it holds {count} events, and one request may hold {bound}" in str(refused.detail)


def test_mixed_events() -> None:
    """One lead among others makes the request a lead."""
    assert read(json_post([{"x": 1}, {"name": "A"}])).outcome is Outcome.LEAD


def test_unwrapping() -> None:
    """JSON in a field, lists of pairs and lists of one item are unwrapped before mapping."""
    toml = '[sources.x.read]\njson_param = "data.json"\nunwrap_lists = true'
    [event] = read(
        form(("data.json", '{"email": ["a@b.example"], "topic": ["x", "y"]}'), page="z"), toml
    ).events
    assert event.lead is not None
    assert (event.lead.email, event.lead.answers) == (
        "a@b.example",
        {"data.json.topic": ["x", "y"], "page": "z"},
    )
    pairs = '[sources.x.read]\nroot = "f"\npairs = { at = "f", key = "q.title", value = "a" }'
    body = {
        "f": [
            {"q": {"title": "E-Mail"}, "a": "a@b.example"},
            {"q": {"title": "T"}, "a": 1},
            {"q": {"title": "T"}, "a": 2},
            {"z": 3},
        ]
    }
    [event] = read(json_post(body), pairs).events
    assert event.lead is not None
    assert (event.lead.email, event.lead.answers) == ("a@b.example", {"T": ["1", "2"], "3.z": "3"})


def test_own_labels() -> None:
    """A source's own labels are matched."""
    [event] = read(
        form(Rufname="Ann", Kennung="x"), '[sources.x.read]\nlabels = { first_name = ["Kennung"] }'
    ).events
    assert event.lead is not None
    assert event.lead.first_name == "x"


def test_form_redirect() -> None:
    """A form's own redirect is returned unchecked, and is not an answer."""
    result = read(form(name="A", _redirect="https://evil.example/"))
    assert result.redirect_to == "https://evil.example/"
    assert result.events[0].lead is not None
    assert result.events[0].lead.answers == {}


def test_reply() -> None:
    """A source's own success status is returned."""
    assert read(form(name="A"), "reply = 200").status == 200
