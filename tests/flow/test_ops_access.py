"""Who gets in, how far, and who is kept out: every route by every kind of visitor, sessions,
guessing, other sites.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Request

from service.docs.document import operations
from service.ops import session
from service.ops.auth import OpsAuth
from service.web.authorization import TokenGuard, find_token_owner
from service.web.lockout import Lockout
from service.web.problems import HttpProblem
from tests.flow.ops_world import HERE, OPERATOR, VIEWER, Desk, bearer, desk, open_desk, openapi
from worker.settings.types import OpsToken, Secret

__all__ = ["desk"]

ROUTES = [
    (method.upper(), path.replace("{id}", "0"))
    for path, method, _ in operations(openapi())
    if path.startswith("/ops/api")
]
SAME = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
EVIL = {"Origin": "https://evil.example"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"x:{OPERATOR}".encode()).decode()}


def cookie_of(desk: Desk, token: str) -> str:
    answer = desk.client.post(
        "/ops/sign-in", data={"token": token}, headers=SAME, follow_redirects=False
    )
    assert answer.status_code == 303, answer.text
    desk.client.cookies.clear()
    return str(answer.headers["set-cookie"]).partition(";")[0]


def csrf_of(desk: Desk, cookie: str) -> str:
    """What a page of the console would hold."""
    owners = desk.world.context.settings.ops_tokens or ()
    match = session.read_session(cookie.partition("=")[2], owners, desk.world.context.clock())
    assert match is not None
    return session.csrf_token(match.owner, match.nonce)


def visitors(desk: Desk) -> dict[str, tuple[dict[str, str], int | None, int | None]]:
    """Headers, and the status of a GET and of a POST; None: any that is neither 401 nor 403."""
    ours, theirs = cookie_of(desk, OPERATOR), cookie_of(desk, VIEWER)
    full = {"Cookie": ours, "X-CSRF-Token": csrf_of(desk, ours)}
    return {
        "nobody": ({}, 401, 401),
        "nobody, from our page": (SAME, 401, 401),
        "an empty bearer": ({"Authorization": "Bearer"}, 401, 401),
        "a wrong bearer": (bearer("wrong"), 401, 401),
        "viewer": (bearer(VIEWER), None, 403),
        "operator": (bearer(OPERATOR), None, None),
        "operator, from our page": (bearer(OPERATOR) | SAME, None, None),
        "operator's cookie and token": (full | SAME, None, None),
        "operator's cookie, Origin alone": (full | {"Origin": HERE}, None, None),
        "operator's cookie, Sec-Fetch-Site alone": (
            full | {"Sec-Fetch-Site": "same-origin"},
            None,
            None,
        ),
        "operator's cookie without token": ({"Cookie": ours} | SAME, None, 403),
        "operator's cookie with the viewer's token": (
            full | SAME | {"X-CSRF-Token": csrf_of(desk, theirs)},
            None,
            403,
        ),
        "operator's cookie from nowhere": (full, None, 403),
        "operator's cookie from another site": (
            full | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
            None,
            403,
        ),
        "operator's cookie from another origin": (full | EVIL, None, 403),
        "operator's cookie from an opaque origin": (full | {"Origin": "null"}, None, 403),
        "operator's cookie from a sister site": (full | {"Sec-Fetch-Site": "same-site"}, None, 403),
        "operator's bearer from another site": (
            bearer(OPERATOR) | {"Sec-Fetch-Site": "cross-site"},
            None,
            403,
        ),
        "nobody from another site": ({"Origin": "https://evil.example"}, 401, 403),
        "viewer's cookie and token": (
            {"Cookie": theirs, "X-CSRF-Token": csrf_of(desk, theirs)} | SAME,
            None,
            403,
        ),
        "a forged cookie": ({"Cookie": ours[:-2] + "00"} | SAME, 401, 401),
        "Basic": (BASIC, None, 403),
        "Basic from our page": (BASIC | SAME, None, 403),
    }


def test_every_route_by_every_visitor(desk: Desk) -> None:
    """Each route answers 401 to strangers and 403 to those who may not, before it looks whether
    anything is there.
    """
    assert len(ROUTES) > 15
    wrong = []
    for who, (headers, get, post) in visitors(desk).items():
        for method, path in ROUTES:
            if "wrong" in who and path != "/ops/api/overview":
                continue
            status = desk.client.request(method, path, headers=headers).status_code
            expected = get if method == "GET" else post
            if (
                (status in (401, 403, 429) or status >= 500)
                if expected is None
                else status != expected
            ):
                wrong.append((who, method, path, status, expected))
    assert wrong == []


def test_a_refused_post_of_another_site_is_in_the_trail(desk: Desk) -> None:
    """What another site's page tried with an operator's cookie changes nothing and is told: who,
    where, from whom.
    """
    cookie = cookie_of(desk, OPERATOR)
    headers = {
        "Cookie": cookie,
        "X-CSRF-Token": csrf_of(desk, cookie),
        "Origin": "https://evil.example",
    }
    answer = desk.client.post("/ops/api/erase", json={"email": "ada@example.com"}, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "/docs#problem-cross-site")
    [entry] = desk.trail()
    del entry["at"]
    assert entry == {
        "who": "olga",
        "action": "refused",
        "target": "/ops/api/erase",
        "detail": "a post from https://evil.example",
    }


def test_another_site_cannot_drown_the_trail(desk: Desk) -> None:
    """Of many refused posts of one address the trail keeps a few."""
    for _ in range(60):
        assert (
            desk.client.post(
                "/ops/api/pause", headers={"Origin": "https://evil.example"}
            ).status_code
            == 403
        )
    assert 1 <= desk.get("audit").json()["total"] <= 25


def test_without_tokens_there_is_nothing(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no token is configured everything under /ops is 404, whatever is asked and shown."""
    with open_desk(redis_url, monkeypatch, tmp_path, {"LEADLINE_OPS_TOKENS": ""}) as closed:
        for method, path in [
            *ROUTES,
            ("GET", "/ops"),
            ("POST", "/ops/sign-in"),
            ("DELETE", "/ops/api/bulk"),
            ("OPTIONS", "/ops"),
        ]:
            assert (
                closed.client.request(method, path, headers=bearer(OPERATOR)).status_code == 404
            ), (method, path)


# -- sessions
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "headers", "secure"),
    [
        (None, {"host": "127.0.0.1:8000"}, False),
        (None, {"host": "localhost:8000", "origin": "http://localhost:8000"}, False),
        (None, {"host": "[::1]:8000"}, False),
        ("http://leads.example", {"host": "127.0.0.1:8000"}, False),
        ("https://leads.example", {"host": "127.0.0.1:8000"}, True),
        (None, {"host": "leads.example"}, True),
        (None, {"host": "127.0.0.1.leads.example"}, True),
        (None, {"host": "127.0.0.1:8000", "origin": "https://leads.example"}, True),
        (None, {"host": "127.0.0.1:8000", "x-forwarded-proto": "https"}, True),
        (None, {"host": "127.0.0.1:8000", "x-forwarded-for": "192.0.2.1"}, True),
        (None, {"host": "127.0.0.1:8000", "via": "1.1 proxy"}, True),
    ],
)
def test_the_cookie(
    url: str | None,
    headers: dict[str, str],
    secure: bool,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scripts cannot read it, other sites cannot send it, it holds no token, and goes over TLS
    alone, except where the browser is on the machine itself.
    """
    with open_desk(
        redis_url, monkeypatch, tmp_path, {"LEADLINE_PUBLIC_URL": url} if url else {}
    ) as desk:
        answer = desk.client.post(
            "/ops/sign-in",
            data={"token": OPERATOR},
            headers={"Sec-Fetch-Site": "same-origin"} | headers,
            follow_redirects=False,
        )
        value, *flags = answer.headers["set-cookie"].split("; ")
        assert set(flags) == {"HttpOnly", "SameSite=Strict", "Path=/ops", "Max-Age=43200"} | (
            {"Secure"} if secure else set()
        )
        assert OPERATOR not in value
        assert (
            OPERATOR
            not in base64.urlsafe_b64decode(value.partition("=")[2].split(".")[0] + "==").decode()
        )


def test_a_session_outlives_the_process_but_not_its_token(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the cookie; one in whose settings the token is another, or is gone,
    does not.
    """
    with open_desk(redis_url, monkeypatch, tmp_path) as first:
        cookie = {"Cookie": cookie_of(first, OPERATOR)}
    for tokens, status in (
        (f"olga:operator:{OPERATOR}", 200),
        (f"olga:viewer:{OPERATOR}", 401),
        ("olga:operator:another-token-of-some-length", 401),
        (f"vera:viewer:{VIEWER}", 401),
    ):
        with open_desk(redis_url, monkeypatch, tmp_path, {"LEADLINE_OPS_TOKENS": tokens}) as other:
            assert other.client.get("/ops/api/overview", headers=cookie).status_code == status, (
                tokens
            )


def test_signing_out_ends_every_copy(desk: Desk) -> None:
    """After the sign-out the same cookie opens nothing any more."""
    cookie = cookie_of(desk, OPERATOR)
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf_of(desk, cookie)} | SAME
    answer = desk.client.post("/ops/sign-out", headers=headers, follow_redirects=False)
    assert "Max-Age=0" in answer.headers["set-cookie"]
    desk.client.cookies.clear()
    assert desk.client.get("/ops/api/overview", headers={"Cookie": cookie}).status_code == 401
    assert (
        desk.client.get(
            "/ops/api/overview", headers={"Cookie": cookie_of(desk, OPERATOR)}
        ).status_code
        == 200
    )


OLGA = OpsToken("olga", "operator", Secret("sesame"))
ODD = OpsToken("Ölga Ö.", "viewer", Secret("sesame"))


def test_a_session_lasts_twelve_hours() -> None:
    """It ends after twelve hours, and one that claims to last longer was never ours."""
    cookie = session.issue_session(OLGA, 1000.0)
    assert session.read_session(cookie, [ODD, OLGA], 1000.0 + 43_199) is not None
    assert session.read_session(cookie, [OLGA], 1000.0 + 43_200) is None
    assert session.read_session(cookie, [OLGA], 900.0) is None


def _tampered() -> Iterator[str]:
    cookie = session.issue_session(OLGA, 1000.0)
    parts = cookie.split(".")
    yield from (
        "",
        ".",
        "...",
        "x" * 10_000,
        cookie + "x",
        cookie[:-1],
        "\u00e9" * 20,
        "a.\x00.b",
    )
    for place in range(3):
        for change in ("", "0", "A" * 30, parts[place] + "0", parts[place][::-1]):
            touched = ".".join([*parts[:place], change, *parts[place + 1 :]])
            if touched != cookie:
                yield touched


def test_a_cookie_that_was_touched_is_none() -> None:
    """No change of a cookie leaves it valid, nor raises."""
    for cookie in _tampered():
        for owners in ([OLGA], [ODD], []):
            assert session.read_session(cookie, owners, 1000.0) is None, cookie


def test_names_may_be_anything() -> None:
    """A token's name with any sign in it has a session too."""
    match = session.read_session(session.issue_session(ODD, 5.0), [OLGA, ODD], 6.0)
    assert match is not None
    assert match.owner == ODD


# -- guessing
# --------------------------------------------------------------------------------------------------


def test_guessing_locks_an_address_out(desk: Desk) -> None:
    """After twenty wrong tokens in a minute the address is not heard, not even with a right one,
    and is told how long.
    """
    tries = [desk.as_(f"guess-{n}", "GET", "overview") for n in range(40)]
    assert [each.status_code for each in tries] == [401] * 20 + [429] * 20
    assert all(0 < int(each.headers["retry-after"]) <= 60 for each in tries[20:])
    assert desk.as_(OPERATOR, "GET", "overview").status_code == 429
    answer = desk.client.post(
        "/ops/sign-in", data={"token": OPERATOR}, headers=SAME, follow_redirects=False
    )
    assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


def test_guessing_locks_nobody_out_who_was_in(desk: Desk) -> None:
    """Who was there before from the same address is still heard, by bearer and by cookie; a token
    seen for the first time not.
    """
    cookie = cookie_of(desk, OPERATOR)
    for n in range(30):
        desk.as_(f"guess-{n}", "GET", "overview")
    assert desk.as_(OPERATOR, "GET", "overview").status_code == 200
    assert desk.client.get("/ops/api/overview", headers={"Cookie": cookie}).status_code == 200
    assert desk.as_(VIEWER, "GET", "overview").status_code == 429


def a_request(address: str, token: str) -> Request[Any, Any, Any]:
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/ops",
        "client": (address, 1),
        "query_string": b"",
    }
    return Request(scope | {"headers": [(b"authorization", f"Bearer {token}".encode())]})


def _auth(desk: Desk) -> OpsAuth:
    """Another process's."""
    context = desk.world.context
    lockout = Lockout(context.aredis, context.acceptor.breaker)
    return OpsAuth(context, TokenGuard(context.settings.ops_tokens or (), lockout))


def test_a_lockout_is_an_address_s_own_and_every_process_knows_it(desk: Desk) -> None:
    """One that guesses is locked out in each process, its neighbours are not."""

    def asks(access: OpsAuth, address: str, token: str) -> int:
        async def ask() -> int:
            try:
                await access.require_viewer(a_request(address, token))
            except HttpProblem as problem:
                return problem.status
            return 200

        status: int = desk.client.blocking_portal.call(ask)
        return status

    first, second = _auth(desk), _auth(desk)
    assert {asks(first, "192.0.2.1", f"guess-{n}") for n in range(25)} == {401, 429}
    assert [asks(each, "192.0.2.1", OPERATOR) for each in (first, second)] == [429, 429]
    assert [asks(each, "192.0.2.2", OPERATOR) for each in (first, second)] == [200, 200]


@pytest.mark.parametrize("given", ["a", "sesame", "öä\udc80", "x" * 5000, ""])
def test_every_token_is_compared_whatever_comes(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison goes over all tokens at equal length, so that its time tells neither which nor
    how nearly.
    """
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    tokens = [OpsToken(f"n{n}", "viewer", Secret("s" * n + "esame")) for n in range(5)]
    match = find_token_owner(given, tokens)
    assert lengths == [(32, 32)] * 5
    assert (match is not None) == (given == "sesame")
