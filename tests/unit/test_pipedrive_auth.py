from __future__ import annotations

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import redis as redis_py

from tests.settable_clock import SettableClock
from worker.encryption import Cipher
from worker.errors import (
    AccountClosed,
    ClientRejected,
    LeadlineError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Reauthorise,
    StoreUnavailable,
    Unavailable,
    WrongTokenAddress,
)
from worker.pipedrive.auth import ApiToken, OAuth, company_base_url
from worker.pipedrive.client import Pipedrive, Unlimited
from worker.store import keys
from worker.store.connection import connect

URL = "https://oauth.example/oauth/token"
CIPHER_KEY = base64.b64encode(bytes(range(32))).decode()
NOW = 1_700_000_000.0


class Provider:
    """Issues `access-N`, and with `rotate` a new refresh token each time.

    It knows which refresh tokens are valid.
    """

    def __init__(self, *, rotate: bool = False, expires_in: object = 3600) -> None:
        self.good = {"refresh-0"}
        self.refresh_tokens: list[str] = []
        self.rotate, self.expires_in = rotate, expires_in
        self.answer: Callable[[httpx.Request], httpx.Response] | None = None
        self.domain: str | None = "https://acme.pipedrive.com"
        self._lock = Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
            self.refresh_tokens.append(form["refresh_token"])
            assert form["grant_type"] == "refresh_token"
            assert (
                request.headers["authorization"]
                == "Basic " + base64.b64encode(b"id:s3cr3t").decode()
            )
            if self.answer:
                return self.answer(request)
            if form["refresh_token"] not in self.good:
                return httpx.Response(400, json={"success": False, "error": "invalid_grant"})
            refresh = (
                f"refresh-{len(self.refresh_tokens)}" if self.rotate else form["refresh_token"]
            )
            if self.rotate:
                self.good = {refresh}
            granted = {
                "access_token": f"access-{len(self.refresh_tokens)}",
                "token_type": "Bearer",
                "refresh_token": refresh,
            }
            return httpx.Response(
                200, json=granted | {"expires_in": self.expires_in, "api_domain": self.domain}
            )


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def make(redis: redis_py.Redis, provider: Provider, clock: SettableClock) -> Callable[..., OAuth]:
    """Builds the credentials of another worker."""
    cipher = Cipher([CIPHER_KEY])

    def new_auths(
        refresh_token: str = "refresh-0",
        *,
        keeper: Cipher = cipher,
        pause: Callable[[float], None] = time.sleep,
    ) -> OAuth:
        http = httpx.Client(transport=httpx.MockTransport(provider))
        return OAuth(
            redis,
            http,
            "id",
            "s3cr3t",
            refresh_token,
            URL,
            keeper.encrypt,
            keeper.decrypt,
            clock,
            pause,
        )

    return new_auths


def bearer(auth: OAuth) -> str:
    return auth.headers()["authorization"]


def test_token_is_shared(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """One worker gets a token, the others use it until a minute before it expires."""
    first, second = make(), make()
    assert bearer(first) == bearer(second) == "Bearer access-1"
    clock.now += 3539
    assert bearer(first) == "Bearer access-1"
    clock.now += 2
    assert bearer(second) == bearer(first) == "Bearer access-2"
    assert len(provider.refresh_tokens) == 2


def test_tokens_are_encrypted(make: Callable[..., OAuth], redis: redis_py.Redis) -> None:
    """Neither the tokens nor the configured one can be read in Redis or in a representation."""
    auth = make()
    bearer(auth)
    stored = repr(redis.hgetall(keys.DEFAULT_ACCOUNT.oauth))
    for word in ("access-1", "refresh-0", "s3cr3t"):
        assert word not in stored
    assert "refresh-0" not in repr(auth)


def test_rotated_token_is_kept(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """A new refresh token is the next to be used, by any worker."""
    provider.rotate = True
    bearer(make())
    clock.now += 3600
    assert bearer(make()) == "Bearer access-2"
    assert provider.refresh_tokens == ["refresh-0", "refresh-1"]


def test_connected_again(make: Callable[..., OAuth], provider: Provider) -> None:
    """After the app is connected again, the newly configured token wins over the stored one."""
    bearer(make())
    provider.good = {"refresh-new"}
    assert bearer(make("refresh-new")) == "Bearer access-2"
    assert bearer(make("refresh-new")) == "Bearer access-2"
    assert provider.refresh_tokens == ["refresh-0", "refresh-new"]


def test_configured_token_is_tried_last(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """If a rotated token is refused, the configured one is tried."""
    provider.rotate = True
    bearer(make())
    clock.now += 3600
    provider.good = {"refresh-0"}
    assert bearer(make()) == "Bearer access-3"
    assert provider.refresh_tokens == ["refresh-0", "refresh-1", "refresh-0"]


def test_unreadable_store(
    make: Callable[..., OAuth], provider: Provider, redis: redis_py.Redis
) -> None:
    """Tokens encrypted with a lost key are requested anew."""
    bearer(make())
    other = Cipher([base64.b64encode(bytes(range(1, 33))).decode()])
    assert bearer(make(keeper=other)) == "Bearer access-2"
    redis.hset(keys.DEFAULT_ACCOUNT.oauth, "tokens", b"rubbish")
    assert bearer(make()) == "Bearer access-3"
    assert len(provider.refresh_tokens) == 3


def test_eight_workers_one_refresh(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """Eight workers of four threads with an expired token cause exactly one refresh."""
    workers = [make() for _ in range(8)]
    for worker in workers:
        bearer(worker)
    clock.now += 3600

    def slowly(_: httpx.Request) -> httpx.Response:
        time.sleep(0.2)  # so that all the others arrive while it lasts
        provider.answer = None
        return httpx.Response(
            200, json={"access_token": "late", "refresh_token": "refresh-0", "expires_in": 3600}
        )

    provider.answer = slowly
    got = in_threads([partial(bearer, worker) for worker in workers for _ in range(4)])
    assert got == ["Bearer late"] * 32
    assert len(provider.refresh_tokens) == 2


def test_eight_workers_refused(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """Eight workers whose token is rejected cause one refresh, and repeat their calls once."""
    workers = [make() for _ in range(8)]
    for worker in workers:
        bearer(worker)
    clock.now += 600
    assert in_threads([worker.renew for worker in workers]) == [True] * 8
    assert {bearer(worker) for worker in workers} == {"Bearer access-2"}
    assert len(provider.refresh_tokens) == 2


def test_threads_of_one_worker_refused(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """A thread whose call used the old token repeats it with the new one."""
    worker = make()
    with ThreadPoolExecutor(1) as early, ThreadPoolExecutor(1) as late:
        for thread in (early, late):
            assert thread.submit(bearer, worker).result(10) == "Bearer access-1"
        clock.now += 600
        assert [thread.submit(worker.renew).result(10) for thread in (early, late)] == [
            True,
            True,
        ]
        assert {thread.submit(bearer, worker).result(10) for thread in (early, late)} == {
            "Bearer access-2"
        }
    assert len(provider.refresh_tokens) == 2


def in_threads(questions: list[Callable[[], Any]]) -> list[Any]:
    answers: list[Any] = [None] * len(questions)

    def ask(place: int) -> None:
        try:
            answers[place] = questions[place]()
        except LeadlineError as error:
            answers[place] = error

    threads = [Thread(target=ask, args=(place,)) for place in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def test_fresh_token_refused(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """A token rejected right after it was issued is not refreshed: its age is not the reason."""
    auth = make()
    bearer(auth)
    assert auth.renew() is False
    clock.now += 31
    assert auth.renew() is True
    assert len(provider.refresh_tokens) == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), Reauthorise),
        (
            httpx.Response(
                401, json={"success": False, "error": "invalid_grant", "message": "revoked"}
            ),
            Reauthorise,
        ),
        (httpx.Response(400, json={"error": "unauthorized_client"}), Reauthorise),
        (httpx.Response(401, json={"error": "invalid_client"}), ClientRejected),
        (httpx.Response(400, json={"error": "invalid_request"}), ClientRejected),
        (httpx.Response(403, json={"success": False, "error": "forbidden"}), ClientRejected),
        (
            httpx.Response(402, json={"success": False, "error": "Company account is not open"}),
            AccountClosed,
        ),
        (httpx.Response(404, json={"error": "not found"}), WrongTokenAddress),
        (httpx.Response(404, text="<html>"), WrongTokenAddress),
        (httpx.Response(405), WrongTokenAddress),
        (httpx.Response(429, headers={"retry-after": "3"}), RateLimited),
        (httpx.Response(500), Unavailable),
        (
            httpx.Response(302, headers={"location": "https://oauth.example/login"}),
            WrongTokenAddress,
        ),
        (httpx.Response(200, json={"success": True}), Unavailable),
        (httpx.Response(200, json={"success": True, "data": {}}), Unavailable),
        (httpx.Response(200, text="<html>"), WrongTokenAddress),
        (httpx.ReadTimeout("slow"), Unavailable),
        (httpx.ConnectError("refused"), NotSent),
    ],
)
def test_errors(
    make: Callable[..., OAuth], provider: Provider, answer: Any, expected: type[Exception]
) -> None:
    """Each failed refresh has its own error; none shows a token or the secret."""

    def respond(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    provider.answer = respond
    with pytest.raises(LeadlineError) as caught:
        make().headers()
    assert type(caught.value) is expected
    assert "refresh-0" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_refusal_is_believed_for_a_while(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """Not every worker tries a rejected refresh token, but it is tried again later.

    It is tried at once if it is changed.
    """
    provider.good = set()
    for _ in range(5):
        with pytest.raises(Reauthorise):
            make().headers()
    assert len(provider.refresh_tokens) == 1
    provider.good = {"refresh-0", "refresh-new"}
    assert bearer(make("refresh-new")) == "Bearer access-2"
    clock.now += 16
    assert bearer(make()) == "Bearer access-3"


def test_wait_is_bounded(
    make: Callable[..., OAuth], redis: redis_py.Redis, provider: Provider
) -> None:
    """A worker that finds the lock taken waits five seconds, and leaves the lock alone."""
    slept: list[float] = []
    redis.set(keys.DEFAULT_ACCOUNT.oauth_lock, "another", px=60_000)
    with pytest.raises(Unavailable):
        make(pause=slept.append).headers()
    assert sum(slept) == pytest.approx(5.0)
    assert redis.get(keys.DEFAULT_ACCOUNT.oauth_lock) == b"another"
    assert provider.refresh_tokens == []


def test_lock_is_returned(
    make: Callable[..., OAuth], redis: redis_py.Redis, provider: Provider
) -> None:
    """The lock is released after success and failure, and expires if its owner dies."""
    owners: list[int] = []

    def look(_: httpx.Request) -> httpx.Response:
        owners.append(redis.pttl(keys.DEFAULT_ACCOUNT.oauth_lock))
        provider.answer = None
        return httpx.Response(500)

    provider.answer = look
    auth = make()
    with pytest.raises(Unavailable):
        auth.headers()
    assert 0 < owners[0] <= 30_000
    assert redis.exists(keys.DEFAULT_ACCOUNT.oauth_lock) == 0
    bearer(auth)
    assert redis.exists(keys.DEFAULT_ACCOUNT.oauth_lock) == 0


def test_token_survives_a_failing_store(
    make: Callable[..., OAuth], redis: redis_py.Redis, provider: Provider, clock: SettableClock
) -> None:
    """If Redis fails when a rotated token arrives, the token is kept in memory and used."""
    provider.rotate = True

    def break_store(_: httpx.Request) -> httpx.Response:
        redis.config_set("min-replicas-to-write", 1)
        provider.answer, provider.good = None, {"refresh-x"}
        return httpx.Response(
            200, json={"access_token": "kept", "refresh_token": "refresh-x", "expires_in": 3600}
        )

    provider.answer = break_store
    auth = make()
    try:
        with pytest.raises(StoreUnavailable):
            auth.headers()
    finally:
        redis.config_set("min-replicas-to-write", 0)
    assert bearer(auth) == "Bearer kept"
    redis.delete(keys.DEFAULT_ACCOUNT.oauth_lock)
    clock.now += 3600
    assert bearer(auth) == "Bearer access-2"
    assert provider.refresh_tokens == ["refresh-0", "refresh-x"]


@pytest.mark.parametrize("expires_in", ["3600", 3600.5, 0, -5, 10**12])
def test_odd_lifetimes(make: Callable[..., OAuth], provider: Provider, expires_in: object) -> None:
    """An odd lifetime neither crashes nor makes every call a refresh."""
    provider.expires_in = expires_in
    auth = make()
    for _ in range(3):
        bearer(auth)
    assert len(provider.refresh_tokens) == 1


def test_clock_set_back(make: Callable[..., OAuth], clock: SettableClock) -> None:
    """After the clock was set back far, a token is renewed rather than trusted."""
    auth = make()
    bearer(auth)
    clock.now -= 7200
    assert bearer(auth) == "Bearer access-2"


def test_redis_away(make: Callable[..., OAuth], provider: Provider) -> None:
    """Without Redis a token in memory still works; without one the store is unavailable."""
    auth = make()
    bearer(auth)
    auth._redis = connect("redis://127.0.0.1:1")
    assert bearer(auth) == "Bearer access-1"
    auth._tokens = None
    with pytest.raises(StoreUnavailable):
        auth.headers()
    assert len(provider.refresh_tokens) == 1


@pytest.mark.parametrize(
    ("domain", "base"),
    [
        ("https://acme.pipedrive.com", "https://acme.pipedrive.com"),
        ("https://acme.pipedrive.com/", "https://acme.pipedrive.com"),
        ("http://acme.pipedrive.com", None),
        ("https://acme.pipedrive.com.evil.example", None),
        ("https://evilpipedrive.com", None),
        ("https://user@acme.pipedrive.com", None),
        ("https://acme.pipedrive.com:8443", None),
        ("https://[bad", None),
        ("", None),
        (None, None),
    ],
)
def test_company_base(domain: str | None, base: str | None) -> None:
    """Only a Pipedrive address is accepted from the token endpoint's response."""
    assert company_base_url(domain) == base


def test_with_the_client(
    make: Callable[..., OAuth], provider: Provider, clock: SettableClock
) -> None:
    """A call with a revoked token succeeds after one refresh, at the company's own address."""
    hosts: list[str] = []

    def api(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        if request.headers["authorization"] == "Bearer access-1":
            return httpx.Response(401, json={"success": False, "error": "unauthorized access"})
        return httpx.Response(201, json={"success": True, "data": {"id": "l-1"}})

    auth = make()
    bearer(auth)
    clock.now += 600
    http = httpx.Client(transport=httpx.MockTransport(api))
    client = Pipedrive(http, "https://api.pipedrive.com", auth, Unlimited())
    assert client.leads.add(title="T", person_id=1).id == "l-1"
    assert hosts == ["acme.pipedrive.com"] * 2
    assert len(provider.refresh_tokens) == 2


def test_lost_reply(make: Callable[..., OAuth], provider: Provider) -> None:
    """A refresh whose response was lost may be repeated."""

    def lose(_: httpx.Request) -> httpx.Response:
        provider.answer = None
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.")

    provider.answer = lose
    auth = make()
    with pytest.raises(Unavailable) as caught:
        auth.headers()
    assert not isinstance(caught.value, OutcomeUnknown)
    assert bearer(auth) == "Bearer access-2"


def test_api_token() -> None:
    """An API token is a header, and cannot be renewed."""
    token = ApiToken("t")
    assert (token.headers(), token.renew(), token.base_url()) == ({"x-api-token": "t"}, False, None)
