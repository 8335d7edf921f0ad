"""Credentials: an API token, or OAuth tokens that all workers share and one of them refreshes.

    tokens in memory, not about to expire        -> use them
    tokens in Redis, refreshed by another worker -> use them
    else take the lock, request new tokens and store them; other workers wait for the result

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

from worker.errors import (
    ClientRejected,
    EndpointGone,
    Reauthorise,
    Refused,
    Unauthorized,
    Unavailable,
    WrongAddress,
    WrongTokenAddress,
)
from worker.pipedrive.calls import Call
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.redaction import clean_text
from worker.pipedrive.responses import connection_error, decipher
from worker.pipedrive.transport import ReceivedResponse, exchange
from worker.store import keys
from worker.store.connection import call_redis

# Deletes the lock only if it is still ours.
RELEASE = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)


class SharedLock:
    """A lock in Redis, held for at most `seconds`.

    It only saves calls: nothing goes wrong if two workers hold it. Methods may raise
    `redis.RedisError`.
    """

    def __init__(self, connection: redis.Redis, key: str, seconds: float) -> None:
        self._redis = connection
        self._key = key
        self._seconds = seconds
        self._owner = secrets.token_hex(12)

    def take(self) -> bool:
        """Try to take the lock; return whether it is ours now."""
        return bool(
            self._redis.set(self._key, self._owner, nx=True, px=round(self._seconds * 1000))
        )

    def release(self) -> None:
        """Release the lock, unless it has expired and somebody else holds it now."""
        self._redis.eval(RELEASE, 1, self._key, self._owner)


REFRESH = Call("oauth.refresh", "POST", "", 0)
# A token is refreshed this long before it expires, so that none expires on its way to Pipedrive.
RENEW_BEFORE_SECONDS = 60.0
# If a token is rejected this soon after it was issued, another one will not help.
MIN_TOKEN_AGE_SECONDS = 30.0
# After one worker learned that the refresh token is rejected, the others do not try for this long.
REJECTION_SECONDS = 15.0
REJECTED = "the refresh token is rejected: connect the app again"
BUSY = "another worker is renewing the access token and has not finished"
LOCK_SECONDS = 30.0
# Shorter than the lock lasts.
REQUEST_SECONDS = 15.0
WAIT_SECONDS, WAIT_STEP_SECONDS = 5.0, 0.05
DEFAULT_LIFETIME_SECONDS = 3600.0


class Auth(Protocol):
    """Signs requests."""

    @property
    def rejection(self) -> type[Unauthorized]:
        """The error to raise once Pipedrive rejects what was signed: it names what to renew."""

    def headers(self) -> dict[str, str]:
        """Return the headers with the credentials.

        Raises `PipedriveError` or `StoreUnavailable`.
        """

    def renew(self) -> bool:
        """Get new credentials after a 401; return whether trying once more makes sense."""

    def base_url(self) -> str | None:
        """Return the base URL of the company's API if the credentials determine it, else None."""


class ApiToken:
    """A user's API token, sent as a header because a URL would end up in logs."""

    rejection = Unauthorized

    def __init__(self, token: str) -> None:
        self._headers = {"x-api-token": str(token)}

    def headers(self) -> dict[str, str]:
        return dict(self._headers)

    def renew(self) -> bool:
        return False

    def base_url(self) -> str | None:
        return None


class OAuthTokens(Struct, frozen=True, kw_only=True):
    """The tokens that are stored encrypted in Redis. Times are Unix seconds.

    `origin` is a digest of the client id and the configured refresh token that they descend from.
    """

    access: str
    refresh: str
    issued_at: float
    expires_at: float
    origin: str
    api_domain: str | None = None


class _TokenResponse(Struct, frozen=True):
    """The response of the token endpoint."""

    access_token: str
    refresh_token: str | None = None
    expires_in: float = DEFAULT_LIFETIME_SECONDS
    api_domain: str | None = None
    scope: str | None = None


class OAuth:
    """Access tokens, refreshed with the configured `refresh_token` or its rotated successor.

    A successor, kept in Redis, is used as long as it descends from the configured token. `encrypt`
    and `decrypt` protect what is stored. `clock` returns Unix seconds; `pause` sleeps while another
    worker refreshes.
    """

    rejection = Reauthorise

    def __init__(
        self,
        connection: redis.Redis,
        http: httpx.Client,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        token_url: str,
        encrypt: Callable[[bytes], bytes],
        decrypt: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._account = account
        self._http = http
        self._client_credentials = (str(client_id), str(client_secret))
        self._configured_refresh_token = str(refresh_token)
        self._origin = hashlib.sha256("\x1f".join((client_id, refresh_token)).encode()).hexdigest()[
            :32
        ]
        self._token_url = token_url
        self._encrypt = encrypt
        self._decrypt = decrypt
        self._clock = clock
        self._pause = pause
        self._tokens: OAuthTokens | None = None
        self._thread_lock = threading.Lock()
        self._last_used = threading.local()

    def headers(self) -> dict[str, str]:
        self._last_used.access = self._current_tokens().access
        return {"authorization": f"Bearer {self._last_used.access}"}

    def base_url(self) -> str | None:
        return self._tokens.api_domain if self._tokens else None

    def renew(self) -> bool:
        """Use a token that another thread or worker has got in the meantime, else request one."""
        rejected = getattr(self._last_used, "access", self._tokens.access if self._tokens else None)
        with self._one_thread():
            newest = max(
                (t for t in (self._read_stored(), self._tokens) if t),
                key=lambda t: t.issued_at,
                default=None,
            )
            if newest is not None and newest.access != rejected and not self._is_expiring(newest):
                self._tokens = newest
                return True
            if newest is not None and self._clock() - newest.issued_at < MIN_TOKEN_AGE_SECONDS:
                return False
            self._tokens = self._refresh_once(rejected=rejected)
            return True

    def _current_tokens(self) -> OAuthTokens:
        tokens = self._tokens
        if tokens is not None and not self._is_expiring(tokens):
            return tokens
        with self._one_thread():
            if self._tokens is None or self._is_expiring(self._tokens):
                stored = self._read_stored()
                self._tokens = (
                    stored
                    if stored and not self._is_expiring(stored)
                    else self._refresh_once(rejected=None)
                )
            return self._tokens

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Let only one thread of the process go on; waiting here is cheaper than in Redis."""
        if not self._thread_lock.acquire(timeout=WAIT_SECONDS):
            raise Unavailable(REFRESH.name, BUSY)
        try:
            yield
        finally:
            self._thread_lock.release()

    def _is_expiring(self, tokens: OAuthTokens) -> bool:
        """Return whether the tokens are about to expire, or the clock was set back since."""
        now = self._clock()
        return (
            now >= tokens.expires_at - RENEW_BEFORE_SECONDS
            or now < tokens.issued_at - 2 * RENEW_BEFORE_SECONDS
        )

    def _refresh_once(self, *, rejected: str | None) -> OAuthTokens:
        """Return new tokens, requested by us or by whoever holds the lock.

        `rejected` is the access token that a 401 rejected.
        """
        lock = SharedLock(self._redis, self._account.oauth_lock, LOCK_SECONDS)
        for _ in range(round(WAIT_SECONDS / WAIT_STEP_SECONDS)):
            if call_redis(lock.take):
                try:
                    return self._usable_stored(rejected) or self._refresh()
                finally:
                    call_redis(lock.release)
            self._pause(WAIT_STEP_SECONDS)
            tokens = self._usable_stored(rejected)
            if tokens is not None:
                return tokens
        raise Unavailable(REFRESH.name, BUSY)

    def _usable_stored(self, rejected: str | None) -> OAuthTokens | None:
        stored = self._read_stored()
        return (
            stored
            if stored and stored.access != rejected and not self._is_expiring(stored)
            else None
        )

    def _refresh(self) -> OAuthTokens:
        """Request tokens with the newest refresh token; if rejected, with the configured one."""
        if self._was_rejected_recently():
            raise Reauthorise(REFRESH.name, REJECTED)
        candidates = [tokens for tokens in (self._read_stored(), self._tokens) if tokens]
        newest = (
            max(candidates, key=lambda tokens: tokens.issued_at).refresh
            if candidates
            else self._configured_refresh_token
        )
        for refresh_token in dict.fromkeys((newest, self._configured_refresh_token)):
            try:
                return self._request_tokens(refresh_token)
            except Reauthorise as error:
                rejection = error
        call_redis(
            lambda: self._redis.hset(
                self._account.oauth, mapping={"refused": f"{self._origin} {self._clock()}"}
            )
        )
        raise rejection

    def _was_rejected_recently(self) -> bool:
        """Return whether a worker has just learned that the app must be connected again."""
        rejection = call_redis(lambda: self._redis.hget(self._account.oauth, "refused"))
        origin, _, at = (rejection or b"").decode().partition(" ")
        return origin == self._origin and 0 <= self._clock() - float(at or 0) < REJECTION_SECONDS

    def _request_tokens(self, refresh_token: str) -> OAuthTokens:
        received = self._post({"grant_type": "refresh_token", "refresh_token": refresh_token})
        now = self._clock()
        response = _parse_token_response(received, now)
        # Keep the tokens in memory first, so that a rotated refresh token survives a failing Redis.
        self._tokens = tokens = OAuthTokens(
            access=response.access_token,
            refresh=response.refresh_token or refresh_token,
            issued_at=now,
            expires_at=now + max(response.expires_in, 2 * RENEW_BEFORE_SECONDS),
            origin=self._origin,
            api_domain=company_base_url(response.api_domain),
        )
        encrypted = self._encrypt(msgspec.json.encode(tokens))
        # The granted scopes are no secret; the drift guard compares them with what deliveries need.
        call_redis(
            lambda: self._redis.hset(
                self._account.oauth,
                mapping={"tokens": encrypted, "scopes": response.scope or ""},
            )
        )
        return tokens

    def _post(self, form: dict[str, str]) -> ReceivedResponse:
        deadline = Deadline(REQUEST_SECONDS)
        signed = httpx.BasicAuth(*self._client_credentials)
        request = httpx.Request(
            "POST",
            self._token_url,
            data=form,
            headers={"accept": "application/json", "accept-encoding": "gzip"},
        )
        request = next(signed.auth_flow(request))
        try:
            received = exchange(self._http, request, deadline)
        except httpx.TransportError as error:
            raise connection_error(REFRESH, error, sent_bytes=deadline.sent_bytes) from error
        if received.fault is not None:
            raise connection_error(
                REFRESH, received.fault, sent_bytes=deadline.sent_bytes
            ) from received.fault
        return received

    def _read_stored(self) -> OAuthTokens | None:
        """Return the shared tokens.

        None if they belong to another connection of the app or cannot be decrypted.
        """
        encrypted = call_redis(lambda: self._redis.hget(self._account.oauth, "tokens"))
        if encrypted is None:
            return None
        try:
            tokens = msgspec.json.decode(self._decrypt(encrypted), type=OAuthTokens)
        except Exception:
            # Whatever the cipher raises, the key is lost and only the configured token is left.
            return None
        return tokens if tokens.origin == self._origin else None


def _parse_token_response(received: ReceivedResponse, now: float) -> _TokenResponse:
    """Parse the response: https://www.rfc-editor.org/rfc/rfc6749#section-5

    No lead is at fault here, whatever the answer: it is the account, the app or the address.
    """
    status, code = received.status, _parse_error_code(received.body)
    if status == 200:
        try:
            return msgspec.json.decode(received.body, type=_TokenResponse, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            foreign = WrongTokenAddress if received.body.lstrip()[:1] == b"<" else Unavailable
            raise foreign(REFRESH.name, "an answer without tokens", status=200) from error
    if status in (400, 401, 403) and code in ("invalid_grant", "unauthorized_client"):
        raise Reauthorise(REFRESH.name, REJECTED, status=status, vendor_code=code)
    if status in (400, 401) and code == "invalid_client":
        detail = "the client id or secret is rejected"
        raise ClientRejected(REFRESH.name, detail, status=status, vendor_code=code)
    try:
        decipher(REFRESH, status, received.headers, received.body, now=now)
    except (WrongAddress, EndpointGone) as error:
        raise WrongTokenAddress(REFRESH.name, error.detail, status=status) from error
    except (Unauthorized, Refused) as error:
        raise ClientRejected(
            REFRESH.name, error.detail, status=status, vendor_code=error.vendor_code
        ) from error
    raise Unavailable(REFRESH.name, "an answer without tokens", status=status)


def _parse_error_code(body: bytes) -> str | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    code = document.get("error") if isinstance(document, dict) else None
    return clean_text(code) if isinstance(code, str) else None


def company_base_url(api_domain: str | None) -> str | None:
    """Return the company's API URL if tokens may be sent to it: https, and Pipedrive's own."""
    try:
        parts = urlsplit(api_domain or "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    is_pipedrive = (
        parts.scheme == "https"
        and host.endswith(".pipedrive.com")
        and port is None
        and parts.username is None
    )
    return f"https://{host}" if is_pipedrive else None
