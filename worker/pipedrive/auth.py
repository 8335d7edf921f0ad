"""Credentials: an API token, or OAuth tokens that all workers share and one of them renews.

    in memory, not about to expire -> use it
    in Redis (another worker renewed it) -> use it
    else take the lock, ask for a new one, store it; whoever finds the lock taken waits for what that brings

https://pipedrive.readme.io/docs/marketplace-oauth-authorization
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import msgspec
import redis
from msgspec import Struct

from worker.errors import Reauthorise, Unauthorized, Unavailable
from worker.pipedrive.calls import Call
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.redaction import clean
from worker.pipedrive.responses import decipher, lost
from worker.pipedrive.transport import Received, exchange
from worker.store import keys
from worker.store.connection import ask

# A short lock over all workers, in Redis. It saves work and money; nothing is wrong if two hold it.

RELEASE = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)


class Lock:
    """Held by at most one owner, and for at most `seconds`. Methods may raise
    `redis.RedisError`.
    """

    def __init__(self, connection: redis.Redis, key: str, seconds: float) -> None:
        self._redis = connection
        self._key = key
        self._seconds = seconds
        self._owner = secrets.token_hex(12)

    def take(self) -> bool:
        """Whether it is ours now."""
        return bool(
            self._redis.set(self._key, self._owner, nx=True, px=round(self._seconds * 1000))
        )

    def release(self) -> None:
        """Gives it back, unless it lapsed and is another's by now."""
        self._redis.eval(RELEASE, 1, self._key, self._owner)


REFRESH = Call("oauth.refresh", "POST", "", 0)
EARLY_SECONDS = 60.0
"""A token is renewed this long before it expires, so that none expires on its way."""
FRESH_SECONDS = 30.0
"""A token refused this soon after it was issued is not mended by another one."""
REFUSAL_SECONDS = 15.0
"""For so long the other workers believe the one that heard that the refresh token is refused."""
REFUSED = "the refresh token is refused: connect the app again"
BUSY = "another worker is renewing the access token and has not finished"
LOCK_SECONDS = 30.0
REQUEST_SECONDS = 15.0
"""Less than the lock holds."""
WAIT_SECONDS, WAIT_STEP = 5.0, 0.05
LIFETIME_GUESS = 3600.0


class Auth(Protocol):
    """What signs the requests."""

    def headers(self) -> dict[str, str]:
        """The headers that carry the credentials; may raise `PipedriveError` or
        `StoreUnavailable`.
        """

    def refused(self) -> bool:
        """Called on a 401. True: new credentials are at hand, and trying once more is worth it."""

    def base(self) -> str | None:
        """Where the company's API lives, if the credentials say so."""


class ApiToken:
    """A user's own token, as a header: in the address it would end in logs."""

    def __init__(self, token: str) -> None:
        self._headers = {"x-api-token": str(token)}

    def headers(self) -> dict[str, str]:
        return dict(self._headers)

    def refused(self) -> bool:
        return False

    def base(self) -> str | None:
        return None


class Tokens(Struct, frozen=True, kw_only=True):
    """What is sealed in Redis. Times in Unix seconds. `origin` is the digest of the configured
    token it all came from.
    """

    access: str
    refresh: str
    issued_at: float
    expires_at: float
    origin: str
    api_domain: str | None = None


class _Granted(Struct, frozen=True):
    """The token endpoint's answer."""

    access_token: str
    refresh_token: str | None = None
    expires_in: float = LIFETIME_GUESS
    api_domain: str | None = None
    scope: str | None = None


class OAuth:
    """`refresh_token` is the configured one; a rotated successor in Redis is preferred as long as
    it stems from it.

    `seal` and `unseal` protect what is stored. `clock` is Unix seconds, `pause` sleeps while
    another worker renews.
    """

    def __init__(
        self,
        connection: redis.Redis,
        http: httpx.Client,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        url: str,
        seal: Callable[[bytes], bytes],
        unseal: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._redis = connection
        self._http = http
        self._client = (str(client_id), str(client_secret))
        self._configured = str(refresh_token)
        self._origin = hashlib.sha256("\x1f".join((client_id, refresh_token)).encode()).hexdigest()[
            :32
        ]
        self._url = url
        self._seal = seal
        self._unseal = unseal
        self._clock = clock
        self._pause = pause
        self._tokens: Tokens | None = None
        self._turn = threading.Lock()
        self._used = threading.local()

    def headers(self) -> dict[str, str]:
        self._used.access = self._valid().access
        return {"authorization": f"Bearer {self._used.access}"}

    def base(self) -> str | None:
        return self._tokens.api_domain if self._tokens else None

    def refused(self) -> bool:
        """Takes the token another thread or worker got meanwhile, else gets a new one."""
        refused = getattr(self._used, "access", self._tokens.access if self._tokens else None)
        with self._my_turn():
            newest = max(
                (t for t in (self._stored(), self._tokens) if t),
                key=lambda t: t.issued_at,
                default=None,
            )
            if newest is not None and newest.access != refused and not self._expiring(newest):
                self._tokens = newest
                return True
            if newest is not None and self._clock() - newest.issued_at < FRESH_SECONDS:
                return False
            self._tokens = self._renewed(instead_of=refused)
            return True

    def _valid(self) -> Tokens:
        tokens = self._tokens
        if tokens is not None and not self._expiring(tokens):
            return tokens
        with self._my_turn():
            if self._tokens is None or self._expiring(self._tokens):
                stored = self._stored()
                self._tokens = (
                    stored
                    if stored and not self._expiring(stored)
                    else self._renewed(instead_of=None)
                )
            return self._tokens

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        """One thread of a process asks; the others wait here, which is cheaper than in Redis."""
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise Unavailable(REFRESH.name, BUSY)
        try:
            yield
        finally:
            self._turn.release()

    def _expiring(self, tokens: Tokens) -> bool:
        """Whether it is (nearly) over; a clock that was set back counts too."""
        now = self._clock()
        return (
            now >= tokens.expires_at - EARLY_SECONDS or now < tokens.issued_at - 2 * EARLY_SECONDS
        )

    def _renewed(self, *, instead_of: str | None) -> Tokens:
        """New tokens, got by us or by whoever is at it. `instead_of` is an access token that was
        refused.
        """
        lock = Lock(self._redis, keys.OAUTH_LOCK, LOCK_SECONDS)
        for _ in range(round(WAIT_SECONDS / WAIT_STEP)):
            if ask(lock.take):
                try:
                    return self._useful(instead_of) or self._renew()
                finally:
                    ask(lock.release)
            self._pause(WAIT_STEP)
            tokens = self._useful(instead_of)
            if tokens is not None:
                return tokens
        raise Unavailable(REFRESH.name, BUSY)

    def _useful(self, instead_of: str | None) -> Tokens | None:
        stored = self._stored()
        return (
            stored
            if stored and stored.access != instead_of and not self._expiring(stored)
            else None
        )

    def _renew(self) -> Tokens:
        """Asks with the newest refresh token we know of; if that is refused, once more with the
        configured one.
        """
        if self._refused_lately():
            raise Reauthorise(REFRESH.name, REFUSED)
        known = [tokens for tokens in (self._stored(), self._tokens) if tokens]
        newest = (
            max(known, key=lambda tokens: tokens.issued_at).refresh if known else self._configured
        )
        for refresh_token in dict.fromkeys((newest, self._configured)):
            try:
                return self._ask(refresh_token)
            except Reauthorise as error:
                refused = error
        ask(
            lambda: self._redis.hset(
                keys.OAUTH, mapping={"refused": f"{self._origin} {self._clock()}"}
            )
        )
        raise refused

    def _refused_lately(self) -> bool:
        """Whether another worker has just heard that the app must be connected again."""
        said = ask(lambda: self._redis.hget(keys.OAUTH, "refused"))
        origin, _, at = (said or b"").decode().partition(" ")
        return origin == self._origin and 0 <= self._clock() - float(at or 0) < REFUSAL_SECONDS

    def _ask(self, refresh_token: str) -> Tokens:
        received = self._post({"grant_type": "refresh_token", "refresh_token": refresh_token})
        now = self._clock()
        granted = _granted(received, now)
        # In memory first: should Redis fail now, a rotated refresh token is not lost with it.
        self._tokens = tokens = Tokens(
            access=granted.access_token,
            refresh=granted.refresh_token or refresh_token,
            issued_at=now,
            expires_at=now + max(granted.expires_in, 2 * EARLY_SECONDS),
            origin=self._origin,
            api_domain=company_base(granted.api_domain),
        )
        sealed = self._seal(msgspec.json.encode(tokens))
        # What was granted is no secret, and the drift guard compares it with what deliveries need.
        ask(
            lambda: self._redis.hset(
                keys.OAUTH, mapping={"tokens": sealed, "scopes": granted.scope or ""}
            )
        )
        return tokens

    def _post(self, form: dict[str, str]) -> Received:
        deadline = Deadline(REQUEST_SECONDS)
        signed = httpx.BasicAuth(*self._client)
        request = httpx.Request(
            "POST",
            self._url,
            data=form,
            headers={"accept": "application/json", "accept-encoding": "gzip"},
        )
        request = next(signed.auth_flow(request))
        try:
            received = exchange(self._http, request, deadline)
        except httpx.TransportError as error:
            raise lost(REFRESH, error, sent_bytes=deadline.sent) from error
        if received.fault is not None:
            raise lost(REFRESH, received.fault, sent_bytes=deadline.sent) from received.fault
        return received

    def _stored(self) -> Tokens | None:
        """The shared tokens, unless they stem from another connection of the app, or cannot be
        opened.
        """
        sealed = ask(lambda: self._redis.hget(keys.OAUTH, "tokens"))
        if sealed is None:
            return None
        try:
            tokens = msgspec.json.decode(self._unseal(sealed), type=Tokens)
        except Exception:  # whatever the vault raises: sealed under a lost key, the configured token is all there is
            return None
        return tokens if tokens.origin == self._origin else None


def _granted(received: Received, now: float) -> _Granted:
    """The token endpoint's answer, read; https://www.rfc-editor.org/rfc/rfc6749#section-5"""
    if received.status == 200:
        try:
            return msgspec.json.decode(received.body, type=_Granted, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(REFRESH.name, "an answer without tokens", status=200) from error
    code = _oauth_error(received.body)
    if received.status in (400, 401, 403) and code in ("invalid_grant", "unauthorized_client"):
        raise Reauthorise(REFRESH.name, REFUSED, status=received.status, vendor_code=code)
    if received.status in (400, 401) and code == "invalid_client":
        raise Unauthorized(
            REFRESH.name,
            "the client id or secret is refused",
            status=received.status,
            vendor_code=code,
        )
    decipher(REFRESH, received.status, received.headers, received.body, now=now)
    raise Unavailable(REFRESH.name, "an answer without tokens", status=received.status)


def _oauth_error(body: bytes) -> str | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    code = document.get("error") if isinstance(document, dict) else None
    return clean(code) if isinstance(code, str) else None


def company_base(api_domain: str | None) -> str | None:
    """The API's address for this company, if it is one that tokens may be sent to: https, and
    Pipedrive's own.
    """
    try:
        parts = urlsplit(api_domain or "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    ours = (
        parts.scheme == "https"
        and host.endswith(".pipedrive.com")
        and port is None
        and parts.username is None
    )
    return f"https://{host}" if ours else None
