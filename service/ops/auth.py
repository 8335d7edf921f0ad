"""Who may do what under `/ops`: the holders of `LEADLINE_OPS_TOKENS`.

Programs send a bearer token. Browsers sign in once and then send a cookie (or, without the form,
HTTP Basic). A browser adds these to any request, whoever caused it, so a change requested that way
must come from our own pages: from the same origin, with the CSRF token that only they know.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import MutableMapping
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from litestar import Request
from msgspec import Struct
from redis.exceptions import RedisError

from service.context import ServiceContext
from service.ops import session
from service.sources.request import FieldError
from service.web import body
from service.web.authorization import (
    CHALLENGE,
    MAX_TOKEN_CHARS,
    TokenGuard,
    parse_authorization,
)
from service.web.client_address import is_loopback, requester_address
from service.web.lockout import MAX_WRONG_TOKENS
from service.web.origins import origin_of
from service.web.problems import HttpProblem
from service.web.rate_limit import AddressRateLimiter
from worker.errors import StoreUnavailable
from worker.ledger.audit import AuditTrail
from worker.settings.types import OpsToken
from worker.store import keys

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
MAX_BODY_BYTES = 256 * 1024
MAX_FORM_FIELDS = 1000
# By which proxies say that they are there.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
_VISITOR = "leadline.visitor"
_BODY = "leadline.body"

HttpRequest = Request[Any, Any, Any]


class Visitor(Struct, frozen=True):
    """Who sends a request.

    `nonce` is that of the session, empty for HTTP Basic, None for a bearer token, which no browser
    sends by itself.
    """

    owner: OpsToken
    nonce: str | None


class OpsAuth:
    """One per process.

    Every method that takes a request raises HttpProblem: 404 while no token is configured, 401,
    403, or 429.
    """

    def __init__(self, context: ServiceContext, guard: TokenGuard) -> None:
        self._tokens = context.settings.ops_tokens or ()
        self._settings = context.settings
        self._redis = context.aredis
        self._breaker = context.acceptor.breaker
        self._guard = guard
        self._limiter = AddressRateLimiter(context.aredis, self._breaker)
        self._audit = AuditTrail(context.redis)

    async def require_viewer(self, request: HttpRequest) -> OpsToken:
        """Let in anybody with a token."""
        return (await self._visitor(request)).owner

    async def require_operator(self, request: HttpRequest) -> OpsToken:
        """Let in somebody who may change things, and who meant to."""
        if not self._tokens:
            raise HttpProblem("not-found")
        if self._is_cross_site(request):
            await self._refuse_cross_site(
                request, "This request comes from a page of another site."
            )
        visitor = await self._visitor(request)
        if visitor.nonce is not None:
            await self._require_own_page(request, visitor)
        if visitor.owner.role != "operator":
            raise HttpProblem("forbidden")
        return visitor.owner

    def csrf_token(self, request: HttpRequest) -> str:
        """Build what a page's forms must send back: field `csrf` or header `X-CSRF-Token`.

        To be called after `require_viewer`.
        """
        visitor = _scope_slots(request)[_VISITOR]
        return session.csrf_token(visitor.owner, visitor.nonce or "")

    async def sign_in(self, request: HttpRequest, token: str) -> str:
        """Start a session for the owner of `token`. Returns the value of `Set-Cookie`."""
        if not self._tokens:
            raise HttpProblem("not-found")
        if self._is_cross_site(request):
            await self._refuse_cross_site(request, "Sign in from the console's own page.")
        owner = await self._find_owner(request, token.strip()[:MAX_TOKEN_CHARS])
        cookie = session.issue_session(owner, time.time())
        return self._cookie(request, cookie, session.SESSION_SECONDS)

    async def sign_out(self, request: HttpRequest) -> str:
        """End the session, here and for every copy of its cookie.

        Returns the value of `Set-Cookie`.
        """
        visitor = await self._visitor(request)
        if visitor.nonce is not None:
            await self._require_own_page(request, visitor)
        if visitor.nonce:
            await self._redis.set(keys.session_ended(visitor.nonce), 1, ex=session.SESSION_SECONDS)
        return self._cookie(request, "", 0)

    async def _visitor(self, request: HttpRequest) -> Visitor:
        slots = _scope_slots(request)
        if _VISITOR not in slots:
            slots[_VISITOR] = await self._identify(request)
        return cast("Visitor", slots[_VISITOR])

    async def _identify(self, request: HttpRequest) -> Visitor:
        if not self._tokens:
            raise HttpProblem("not-found")
        scheme, token = parse_authorization(request.headers.get("authorization", ""))
        if token:
            owner = await self._find_owner(request, token)
            return Visitor(owner, None if scheme == "bearer" else "")
        current = self._read_session(request)
        if current is None or await self._is_signed_out(current.nonce):
            raise HttpProblem("not-signed-in", headers=CHALLENGE)
        return Visitor(current.owner, current.nonce)

    def _read_session(self, request: HttpRequest) -> session.Session | None:
        cookie = request.cookies.get(session.COOKIE, "")
        return session.read_session(cookie, self._tokens, time.time())

    async def _find_owner(self, request: HttpRequest, token: str) -> OpsToken:
        return await self._guard.require_owner(self._address(request), token)

    async def _is_signed_out(self, nonce: str) -> bool:
        """Whether the session was ended; while Redis is away, a session counts as valid."""
        if self._breaker.closed:
            try:
                return bool(await self._redis.exists(keys.session_ended(nonce)))
            except (RedisError, OSError):
                self._breaker.trip()
        return False

    async def _require_own_page(self, request: HttpRequest, visitor: Visitor) -> None:
        """Refuse a request unless it shows that one of our own pages sent it."""
        if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
            await self._refuse_cross_site(
                request, "Nothing says that it comes from the console's own pages.", visitor
            )
        token = request.headers.get(CSRF_HEADER) or (await read_form(request)).get(CSRF_FIELD, "")
        if not session.is_csrf_token(token, visitor.owner, visitor.nonce or ""):
            await self._refuse_cross_site(
                request, "The page is too old, or not ours: load it again.", visitor
            )

    def _is_cross_site(self, request: HttpRequest) -> bool:
        """Whether the request's own headers say that another site's page made it."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site != "same-origin"
        header = request.headers.get("origin")
        if header is None:
            return False
        host = request.headers.get("host", "")
        ours = {
            origin_of(f"http://{host}"),
            origin_of(f"https://{host}"),
            origin_of(self._settings.public_url or ""),
        }
        origin = origin_of(header)
        return origin is None or origin not in ours

    async def _refuse_cross_site(
        self, request: HttpRequest, detail: str, visitor: Visitor | None = None
    ) -> None:
        """Raise 403, after an entry in the audit trail.

        Each address gets only a few entries, so that nobody can flood the trail.
        """
        current = visitor or self._read_session(request)
        who = current.owner.name if current else "nobody"
        address = self._address(request)
        if not await self._limiter.wait_seconds("ops-refused", address, MAX_WRONG_TOKENS):
            origin = origin_of(request.headers.get("origin", "")) or "an unnamed origin"
            path = request.url.path[:200]
            with contextlib.suppress(StoreUnavailable):
                await asyncio.to_thread(
                    self._audit.record, who, "refused", path, f"a post from {origin[:200]}"
                )
        raise HttpProblem("cross-site", detail)

    def _address(self, request: HttpRequest) -> str:
        return requester_address(request, self._settings.trusted_proxies)

    def _cookie(self, request: HttpRequest, value: str, seconds: int) -> str:
        secure = "" if self._is_on_loopback(request) else "; Secure"
        return (
            f"{session.COOKIE}={value}; Path=/ops; Max-Age={seconds}; HttpOnly;"
            f" SameSite=Strict{secure}"
        )

    def _is_on_loopback(self, request: HttpRequest) -> bool:
        """Whether the browser itself is on this machine, where there is no TLS.

        Where there may be a proxy, the cookie is for TLS alone, whatever the proxy says or hides:
        some replace the Host header by our own address, but not the page's Origin.
        """
        if (self._settings.public_url or "").lower().startswith("https:"):
            return False
        if any(name in request.headers for name in _FORWARDED):
            return False
        urls = [f"http://{request.headers.get('host', '')}", request.headers.get("origin")]
        return all(_is_loopback_url(url) for url in urls if url is not None)


def _is_loopback_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    return parts.scheme == "http" and (host == "localhost" or is_loopback(host))


async def read_body(request: HttpRequest) -> bytes:
    """Read the body, bounded in size and time; a second call returns the same bytes.

    Raises HttpProblem 408 or 413.
    """
    slots = _scope_slots(request)
    if _BODY not in slots:
        slots[_BODY] = await body.read_body(request.receive, MAX_BODY_BYTES)
    return cast("bytes", slots[_BODY])


async def read_form(request: HttpRequest) -> dict[str, str]:
    """Read the fields of a form post, the last of each name; {} if it is not a form.

    Raises HttpProblem 400, 408 or 413.
    """
    kind = body.media_type(request.headers.get("content-type", ""))
    if kind != "application/x-www-form-urlencoded":
        return {}
    text = (await read_body(request)).decode("utf-8", "replace")
    try:
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        error = FieldError("", f"more than {MAX_FORM_FIELDS} fields")
        raise HttpProblem("unreadable", errors=[error]) from None
    return {name: values[-1] for name, values in fields.items()}


def _scope_slots(request: HttpRequest) -> MutableMapping[str, Any]:
    return cast("MutableMapping[str, Any]", request.scope)
