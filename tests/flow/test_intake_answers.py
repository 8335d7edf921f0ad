"""What senders are told: the table of answers, over a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis as redis_py
from structlog.testing import capture_logs

from service.sources.request import CustomResponse, FieldError, NormalizationResult, Outcome
from service.web.problems import PROBLEM_KINDS
from tests.flow.intake_world import HTML, SITE, World, make_event, make_result, open_world
from worker.contract import Lead, State
from worker.errors import StoreUnavailable
from worker.metrics import series
from worker.store import keys


@pytest.fixture
def world(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(redis_url, monkeypatch) as opened:
        yield opened


def stored(redis: redis_py.Redis) -> int:
    return sum(redis.zcard(keys.state(state)) for state in State)


def check_problem(answer: Any, kind: str, status: int | None = None) -> dict[str, Any]:
    """The answer is this problem, complete and in the right media type."""
    assert answer.status_code == (status or PROBLEM_KINDS[kind].status)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/docs#problem-{kind}"
    assert body["title"] == PROBLEM_KINDS[kind].title
    assert body["status"] == answer.status_code
    assert body["instance"] == answer.headers["x-request-id"]
    assert isinstance(body["errors"], list)
    return body


def test_an_accepted_submission_is_stored_before_its_answer(
    world: World, redis: redis_py.Redis
) -> None:
    """The generic answer names an id that is in the ledger and in the queue."""
    answer = world.post()
    body = answer.json()
    assert answer.status_code == 202
    assert body == {
        "id": body["id"],
        "state": "queued",
        "duplicate": False,
        "status_url": f"/submissions/{body['id']}",
    }
    assert answer.headers["location"] == body["status_url"]
    assert "idempotent-replayed" not in answer.headers
    record = world.context.ledger.get(body["id"])
    assert record is not None
    assert record.state is State.QUEUED
    assert record.raw is not None
    assert msgspec.json.decode(record.raw.body) == {"email": "ada@acme.example"}
    assert redis.llen("rq:queue:leadline") == 1


@pytest.mark.parametrize(
    ("outcome", "state", "public"),
    [
        (Outcome.LEAD, State.QUEUED, "queued"),
        (Outcome.NEEDS_FETCH, State.QUEUED, "queued"),
        (Outcome.SPAM, State.QUARANTINED, "queued"),
        (Outcome.NO_LEAD, State.IGNORED, "ignored"),
        (Outcome.NO_CONTACT, State.DEAD, "dead"),
    ],
)
def test_what_an_event_becomes(world: World, outcome: Outcome, state: State, public: str) -> None:
    """Each kind of event is stored in its state; to the sender spam looks like any other."""
    world.result = make_result(outcome)
    answer = world.post("typeform")
    assert answer.status_code == 202
    assert answer.json()["state"] == public
    record = world.context.ledger.get(answer.json()["id"])
    assert record is not None
    assert record.state is state
    assert world.client.get(answer.json()["status_url"]).json()["state"] == public


def test_an_event_without_contact_from_a_product_says_what_to_mend(world: World) -> None:
    """An event of a product without any contact is dead, with a cause that names the map to fix."""
    world.result = make_result(
        Outcome.NO_CONTACT, field_errors=[FieldError(field="email", message="no e-mail")]
    )
    record = world.context.ledger.get(world.post("typeform").json()["id"])
    assert record is not None
    assert record.cause is not None
    assert (record.cause.code, record.cause.field, record.cause.setting) == (
        "no-contact",
        "email",
        "sources.typeform.map",
    )


@pytest.mark.parametrize("source", ["contact", "partner"])
def test_forms_and_partners_hear_that_nobody_can_be_reached(
    world: World, redis: redis_py.Redis, source: str
) -> None:
    """A form or partner post without any contact is a 422 that names the fields; nothing is stored."""
    world.result = make_result(
        Outcome.NO_CONTACT,
        field_errors=[FieldError(field="email", message="Give an e-mail address.")],
    )
    body = check_problem(world.post(source), "no-contact")
    assert body["errors"] == [{"field": "email", "message": "Give an e-mail address."}]
    assert stored(redis) == 0


@pytest.mark.parametrize(
    ("result", "kind", "status", "outcome"),
    [
        (make_result(Outcome.REFUSED, status=401), "not-genuine", 401, "refused"),
        (make_result(Outcome.REFUSED, status=403), "handshake", 403, "refused"),
        (make_result(Outcome.UNREADABLE, status=400), "unreadable", 400, "unreadable"),
        (make_result(Outcome.UNREADABLE, status=413), "too-large", 413, "unreadable"),
        (make_result(Outcome.UNREADABLE, status=415), "media-type", 415, "unreadable"),
        (make_result(Outcome.UNREADABLE, status=500), "unreadable", 400, "unreadable"),
    ],
)
def test_what_is_refused_is_counted_and_not_stored(
    world: World,
    redis: redis_py.Redis,
    result: NormalizationResult,
    kind: str,
    status: int,
    outcome: str,
) -> None:
    """A request that is not genuine or cannot be read leaves a count behind and nothing else."""
    world.result = result
    check_problem(world.post("typeform"), kind, status)
    assert stored(redis) == 0
    assert (
        world.metric(series("leadline_submissions_total", source="typeform", outcome=outcome)) == 1
    )


def test_a_bug_in_normalizing_is_no_server_error(world: World) -> None:
    """If normalizing fails, the sender gets "cannot be read", and the log says where it failed."""
    world.result = RuntimeError("ada@acme.example")
    with capture_logs() as lines:
        answer = world.post()
    check_problem(answer, "unreadable")
    assert "ada@" not in answer.text
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["normalize failed"]


@pytest.mark.parametrize(
    ("path", "method", "kind"),
    [
        ("/in/nobody", "POST", "not-found"),
        ("/in/nobody", "GET", "not-found"),
        ("/in/nobody", "OPTIONS", "not-found"),
        ("/nowhere", "GET", "not-found"),
        ("/in/contact/more", "POST", "not-found"),
        ("/submissions/short", "GET", "not-found"),
        ("/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET", "not-found"),
        ("/submissions/01arz3ndektsv4rrffq69g5fav", "GET", "not-found"),
        ("/in/contact", "PUT", "method"),
        ("/in/contact", "DELETE", "method"),
        ("/in/contact", "GET", "method"),
        ("/submissions/01ARZ3NDEKTSV4RRFFQ69G5FAV", "POST", "method"),
    ],
)
def test_wrong_places_and_methods(world: World, path: str, method: str, kind: str) -> None:
    """An unknown address is a 404, a wrong method a 405 that names the right ones."""
    world.result = make_result(Outcome.UNREADABLE, status=400)
    answer = world.client.request(method, path)
    check_problem(answer, kind)
    assert ("allow" in answer.headers) is (kind == "method")


@pytest.mark.parametrize(
    ("headers", "content", "kind"),
    [
        ({"content-type": "application/xml"}, b"<a/>", "media-type"),
        ({"content-type": "image/png"}, b"x", "media-type"),
        ({"content-type": "application/octet-stream"}, b"x", "media-type"),
        (
            {"content-type": "application/json", "content-encoding": "gzip"},
            b"\x1f\x8b",
            "media-type",
        ),
        ({"content-type": "application/json", "content-encoding": "br, gzip"}, b"x", "media-type"),
        ({"content-type": "application/json"}, b"x" * 101, "too-large"),
        ({"content-type": "application/json", "idempotency-key": ""}, b"{}", "idempotency-key"),
        (
            {"content-type": "application/json", "idempotency-key": "k" * 256},
            b"{}",
            "idempotency-key",
        ),
        (
            {"content-type": "application/json", "idempotency-key": "two words"},
            b"{}",
            "idempotency-key",
        ),
        (
            {"content-type": "application/json", "idempotency-key": "caf\u00e9"},
            b"{}",
            "idempotency-key",
        ),
        (
            {"content-type": "application/json", "idempotency-key": "\u0007"},
            b"{}",
            "idempotency-key",
        ),
    ],
)
def test_what_the_endpoint_refuses_by_itself(
    world: World, headers: dict[str, str], content: bytes, kind: str
) -> None:
    """Media type, coding, size and key are refused before anything is normalized."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    check_problem(world.client.post("/in/partner", content=content, headers=raw), kind)
    assert world.requests == []


def test_a_body_without_a_stated_length_is_counted_as_it_comes(world: World) -> None:
    """A chunked body is cut at the source's limit, and one below it is taken whole."""
    parts = [b"x" * 40, b"y" * 40]
    headers = {"content-type": "application/json"}
    assert world.client.post("/in/partner", content=iter(parts), headers=headers).status_code == 202
    assert world.requests[-1].body == b"".join(parts)
    check_problem(
        world.client.post("/in/partner", content=iter([*parts, b"z" * 40]), headers=headers),
        "too-large",
    )


def test_the_same_event_again_gets_the_first_answer(world: World, redis: redis_py.Redis) -> None:
    """A repeat within the window says so, names the first id and stores nothing."""
    first, again = world.post(), world.post()
    assert again.status_code == first.status_code
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json() | {"duplicate": True}
    assert stored(redis) == 1
    assert (
        world.metric(series("leadline_submissions_total", source="contact", outcome="duplicate"))
        == 1
    )


def test_a_repeat_of_spam_looks_like_any_other_repeat(world: World) -> None:
    """Quarantine does not show in the answer to a repeat either."""
    world.result = make_result(Outcome.SPAM)
    first, again = world.post(), world.post()
    assert again.json() == first.json() | {"duplicate": True}
    assert again.json()["state"] == "queued"


def test_a_product_event_is_known_by_its_id(world: World, redis: redis_py.Redis) -> None:
    """A signed event id makes a duplicate, whatever the body or key; another id does not."""
    world.result = make_result(events=[make_event(event_id="e1")])
    first = world.post("partner", {"n": 1})
    again = world.post("partner", {"n": 2}, idempotency_key="another")
    world.result = make_result(events=[make_event(event_id="e2")])
    other = world.post("partner", {"n": 1})
    assert again.json()["id"] == first.json()["id"]
    assert other.json()["id"] != first.json()["id"]
    assert stored(redis) == 2


def test_an_idempotency_key_goes_before_what_nobody_signed(
    world: World, redis: redis_py.Redis
) -> None:
    """The same key and body is a repeat; with another body it is a 422 and stores nothing.

    Another key is another submission.
    """
    world.result = make_result(events=[make_event(event_id="e1")])
    first = world.post(body={"n": 1}, idempotency_key="k1")
    assert world.post(body={"n": 1}, idempotency_key="k1").json() == first.json() | {
        "duplicate": True
    }
    check_problem(world.post(body={"n": 2}, idempotency_key="k1"), "key-reused")
    assert world.post(body={"n": 1}, idempotency_key="k2").json()["duplicate"] is False
    assert stored(redis) == 2


def test_a_form_may_bring_its_key_along(world: World) -> None:
    """A form's own key counts as the header does, which goes before it."""
    world.result = make_result(idempotency_key="k1")
    first = world.post(body={"n": 1}).json()
    assert world.post(body={"n": 1}).json() == first | {"duplicate": True}
    check_problem(world.post(body={"n": 2}), "key-reused")
    assert world.post(body={"n": 2}, idempotency_key="k2").json()["duplicate"] is False
    world.result = make_result(idempotency_key="two words")
    check_problem(world.post(body={"n": 3}), "idempotency-key")


def test_keys_are_per_source(world: World) -> None:
    """Two sources may use the same key without meeting."""
    first, other = (
        world.post("contact", idempotency_key="k"),
        world.post("strict", idempotency_key="k"),
    )
    assert other.json()["duplicate"] is False
    assert other.json()["id"] != first.json()["id"]


def test_multipart_boundaries_do_not_count(world: World) -> None:
    """A form that is sent again under the same key with a new boundary is the same body."""

    def send(boundary: str) -> Any:
        body = (
            f"--{boundary}\r\nContent-Disposition: form-data;"
            f' name="a"\r\n\r\nb\r\n--{boundary}--\r\n'
        )
        headers = {
            "content-type": f"multipart/form-data; boundary={boundary}",
            "idempotency-key": "k",
        }
        return world.client.post("/in/contact", content=body, headers=headers)

    assert send("one").json()["id"] == send("two").json()["id"]


def test_without_a_window_only_ids_are_compared(world: World, redis: redis_py.Redis) -> None:
    """`dedupe_window = 0` takes every post without an id as a new one."""
    world.post("typeform")
    world.post("typeform")
    assert stored(redis) == 2


def test_several_events_in_one_request_are_several_submissions(
    world: World, redis: redis_py.Redis
) -> None:
    """A batch is stored event by event; sent again, each is known."""
    world.result = make_result(
        events=[
            make_event(event_id="a"),
            make_event(Outcome.NO_LEAD, event_id="b"),
            make_event(event_id="c", lead=Lead(email="c@acme.example")),
        ]
    )
    first = world.post("typeform").json()
    assert [item["state"] for item in first["submissions"]] == ["queued", "ignored", "queued"]
    assert first["id"] == first["submissions"][0]["id"]
    again = world.post("typeform").json()
    assert again["duplicate"] is True
    assert [item["id"] for item in again["submissions"]] == [
        item["id"] for item in first["submissions"]
    ]
    assert stored(redis) == 3


def test_a_genuine_request_without_events_is_kept_as_ignored(world: World) -> None:
    """A ping or an empty batch is one ignored submission."""
    world.result = make_result(Outcome.NO_LEAD, events=[], detail="a ping")
    answer = world.post("typeform")
    assert answer.json()["state"] == "ignored"


@pytest.mark.parametrize(
    ("source", "answer", "status", "body", "kind"),
    [
        ("typeform", CustomResponse(status=200, body={}), 200, b"{}", "application/json"),
        (
            "typeform",
            CustomResponse(status=200, body="ok", media_type="text/plain"),
            200,
            b"ok",
            "text/plain; charset=utf-8",
        ),
        ("typeform", CustomResponse(status=200), 200, b"", "application/json"),
        ("typeform", CustomResponse(status=204, body={}), 204, b"", None),
        ("teapot", CustomResponse(status=202, body={"a": 1}), 200, b'{"a":1}', "application/json"),
        ("silent", None, 204, b"", None),
    ],
)
def test_products_get_the_answer_they_count_as_success(
    world: World,
    source: str,
    answer: CustomResponse | None,
    status: int,
    body: bytes,
    kind: str | None,
) -> None:
    """An adapter's response replaces the generic one; the source's `reply` replaces the status.

    Repeats say so in a header.
    """
    world.result = make_result(response=answer, events=[make_event(event_id="e")])
    first, again = world.post(source), world.post(source)
    for each in (first, again):
        assert (each.status_code, each.content) == (status, body)
        assert kind is None or each.headers["content-type"] == kind
    assert again.headers["idempotent-replayed"] == "true"


def test_a_handshake_is_answered_and_not_stored(world: World, redis: redis_py.Redis) -> None:
    """A provider's challenge comes back as the adapter says, inert, by GET and by POST."""
    world.result = make_result(
        Outcome.HANDSHAKE,
        response=CustomResponse(status=200, body="<b>1</b>", media_type="text/plain"),
    )
    for answer in (world.client.get("/in/typeform?hub.challenge=1"), world.post("typeform")):
        assert (answer.status_code, answer.text) == (200, "<b>1</b>")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert world.requests[0].query == "hub.challenge=1"
    assert stored(redis) == 0


def test_a_refused_handshake_is_a_403(world: World) -> None:
    """A handshake with the wrong secret is refused and counted."""
    world.result = make_result(Outcome.REFUSED, status=403)
    check_problem(world.client.get("/in/typeform?hub.challenge=1"), "handshake")
    assert (
        world.metric(series("leadline_submissions_total", source="typeform", outcome="refused"))
        == 1
    )


def test_google_shows_the_message_of_a_problem(world: World) -> None:
    """Google Ads reads `message`; other products do not get it."""
    world.result = make_result(Outcome.REFUSED, status=401, detail="The key does not match.")
    assert (
        check_problem(world.post("google"), "not-genuine")["message"] == "The key does not match."
    )
    assert "message" not in check_problem(world.post("typeform"), "not-genuine")


def test_a_browser_is_thanked(world: World) -> None:
    """Without a redirect, a browser that navigates gets a small page, a script gets JSON."""
    page = world.post(accept=HTML)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Thank you" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "script" not in page.text
    assert world.post(accept="*/*").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("requested", "target"),
    [
        (None, f"{SITE}/thanks"),
        (f"{SITE}/danke?a=1#top", f"{SITE}/danke?a=1#top"),
        ("https://evil.example/", f"{SITE}/thanks"),
        ("javascript:alert(1)", f"{SITE}/thanks"),
        (f"{SITE}\r\nSet-Cookie: a=b", f"{SITE}/thanks"),
    ],
)
def test_a_browser_is_sent_on(world: World, requested: str | None, target: str) -> None:
    """A browser goes to the source's page, or to the form's own if its origin is allowed."""
    world.result = make_result(redirect_to=requested)
    for _ in range(2):
        answer = world.post("strict", accept=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, target)
    assert answer.headers["idempotent-replayed"] == "true"
    assert world.post("contact", accept=HTML).status_code == 200


def test_a_browser_sees_problems_as_a_page(world: World) -> None:
    """The page has the words of the JSON problem, runs nothing and echoes nothing unescaped."""
    world.result = make_result(
        Outcome.NO_CONTACT, field_errors=[FieldError(field="<script>", message="Give <b>one</b>.")]
    )
    page = world.post(accept=HTML)
    assert page.status_code == 422
    assert PROBLEM_KINDS["no-contact"].title in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert page.headers["x-request-id"] in page.text
    assert page.headers["cache-control"] == "no-store"


def test_origins_that_are_not_listed_are_refused(world: World, redis: redis_py.Redis) -> None:
    """A browser's page of another origin may not post; programs without an Origin may."""
    check_problem(world.post("strict", origin="https://evil.example"), "origin")
    check_problem(world.post("strict", origin="null"), "origin")
    assert stored(redis) == 0
    assert world.requests == []
    assert world.post("strict", origin=SITE).status_code == 202
    assert world.post("strict", {"other": 1}).status_code == 202
    assert (
        world.metric(series("leadline_submissions_total", source="strict", outcome="refused")) == 2
    )


def test_pages_of_listed_origins_can_read_every_answer(world: World) -> None:
    """Answers and problems carry the CORS headers of the source."""
    good = world.post("strict", origin=SITE)
    world.result = make_result(Outcome.UNREADABLE, status=400)
    bad = world.post("strict", origin=SITE)
    for answer in (good, bad):
        assert answer.headers["access-control-allow-origin"] == SITE
        assert answer.headers["vary"] == "Origin"
        assert "Idempotent-Replayed" in answer.headers["access-control-expose-headers"]
    assert (
        world.post("contact", origin="https://any.example").headers["access-control-allow-origin"]
        == "*"
    )


def test_a_preflight_names_what_a_page_may_send(world: World) -> None:
    """OPTIONS allows the listed origin, POST, and the headers that the source looks at."""
    answer = world.client.options(
        "/in/partner", headers={"origin": SITE, "access-control-request-method": "POST"}
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "content-type, idempotency-key, X-Key"
    refused = world.client.options("/in/strict", headers={"origin": "https://evil.example"})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


def test_over_the_rate_is_told_when_to_come_back(world: World) -> None:
    """The third post of a minute is refused before it is read, with the seconds to wait."""
    world.post("limited", {"n": 1})
    world.post("limited", {"n": 2})
    answer = world.post("limited", {"n": 3})
    check_problem(answer, "rate")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert len(world.requests) == 2
    assert (
        world.metric(series("leadline_submissions_total", source="limited", outcome="limited")) == 1
    )


def test_what_cannot_be_stored_is_the_only_5xx(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing can store it, the sender is asked to come back, and it is counted."""

    async def refuse(_: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(world.context.acceptor, "accept", refuse)
    answer = world.post()
    check_problem(answer, "not-stored")
    assert answer.headers["retry-after"] == "5"
    assert world.metric(series("leadline_unstored_total", source="contact")) == 1


@pytest.mark.parametrize(
    ("given", "is_used"),
    [
        ("abc-1.2_3", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("a b", False),
        ("<x>", False),
        ("", False),
        ("-a", False),
    ],
)
def test_a_sane_request_id_is_kept(world: World, given: str, is_used: bool) -> None:
    """The caller's own request id comes back if it is harmless, else a new one."""
    answer = world.client.get("/nowhere", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) is is_used
    assert answer.json()["instance"] == answer.headers["x-request-id"]


def test_one_log_line_per_submission_without_personal_data(world: World) -> None:
    """The line holds ids and outcomes, and nothing that the sender wrote."""
    with capture_logs() as lines:
        answer = world.post("typeform", {"email": "ada@acme.example"}, user_agent="Ada's browser")
    (line,) = [each for each in lines if each["event"] == "submission"]
    assert line["submission_id"] == answer.json()["id"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["source"], line["outcome"], line["status"], line["bytes"]) == (
        "typeform",
        "accepted",
        202,
        28,
    )
    assert line["duration_ms"] > 0
    assert "ada" not in str(lines).lower()


def test_refused_requests_can_be_looked_up_for_a_while(world: World, redis: redis_py.Redis) -> None:
    """Per source the newest refusals are kept without their body, for a day."""
    from service.intake.refusals import MAX_REFUSALS, recent_refusals

    world.result = make_result(Outcome.REFUSED, status=401, detail="The signature does not match.")
    for _ in range(MAX_REFUSALS + 3):
        world.post("typeform", {"email": "ada@acme.example"})
    world.client.__exit__(None, None, None)  # the last flush
    world.client.__enter__()
    entries = recent_refusals(redis, "typeform")
    assert len(entries) == MAX_REFUSALS
    assert entries[0]["reason"] == "The signature does not match."
    assert "ada@" not in str(entries)
    assert 0 < redis.ttl(keys.refusals("typeform")) <= 24 * 3600
