"""Who may do what under `/ops`: the holders of `LEADLINE_OPS_TOKENS`.

Programs show their token as bearer. Browsers sign in once and then show a cookie (or, without the
form, HTTP Basic). What a browser adds by itself to any request proves nobody's intent, so a change
asked for that way must come from our own pages: from the same origin, with the token that only they
know.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import MutableMapping
from typing import Any, cast
from urllib.parse import parse_qs

from litestar import Request
from msgspec import Struct
from redis.exceptions import RedisError

from service.context import ServiceContext
from service.ops import session
from service.ops.session import TRIES, Lockout
from service.sources.request import FieldError
from service.web import body
from service.web.client_address import client_address, limited_as
from service.web.origins import origin_of
from service.web.problems import HttpProblem
from service.web.rate_limit import Limiter
from worker.errors import StoreUnavailable
from worker.ledger.audit import AuditTrail
from worker.store import keys
from worker.values import OpsToken

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Leadline"'}
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
LONGEST_TOKEN = 4096
MOST_BODY = 256 * 1024
_VISITOR = "leadline.visitor"
_BODY = "leadline.body"

Web = Request[Any, Any, Any]


class Visitor(Struct, frozen=True):
    """Who asks. `nonce` is that of the session, empty for HTTP Basic, None for a bearer, which no
    browser sends by itself.
    """

    owner: OpsToken
    nonce: str | None


class Access:
    """One per process. Each question raises HttpProblem: 404 while no token is configured, 401,
    403, 429.
    """

    def __init__(self, context: ServiceContext) -> None:
        self._tokens = context.settings.ops_tokens or ()
        self._settings = context.settings
        self._redis = context.aredis
        self._breaker = context.acceptor.breaker
        self._lockout = Lockout(context.aredis, self._breaker)
        self._limiter = Limiter(context.aredis, self._breaker)
        self._audit = AuditTrail(context.redis)

    async def viewer(self, request: Web) -> OpsToken:
        """Anybody with a token."""
        return (await self._visitor(request)).owner

    async def operator(self, request: Web) -> OpsToken:
        """Somebody who may change things, and who meant to."""
        if not self._tokens:
            raise HttpProblem("not-found")
        if self._from_elsewhere(request):
            await self._refuse(request, "This request comes from a page of another site.")
        visitor = await self._visitor(request)
        if visitor.nonce is not None:
            await self._must_be_ours(request, visitor)
        if visitor.owner.role != "operator":
            raise HttpProblem("forbidden")
        return visitor.owner

    def csrf(self, request: Web) -> str:
        """What the forms of a page must send back, as the field `csrf` or the header
        `X-CSRF-Token`; after `viewer`.
        """
        visitor = _slots(request)[_VISITOR]
        return session.csrf(visitor.owner, visitor.nonce or "")

    async def sign_in(self, request: Web, token: str) -> str:
        """A new session for the owner of `token`. Returns the value of `Set-Cookie`."""
        if not self._tokens:
            raise HttpProblem("not-found")
        if self._from_elsewhere(request):
            await self._refuse(request, "Sign in from the console's own page.")
        owner = await self._owner(request, token.strip()[:LONGEST_TOKEN])
        return self._cookie(request, session.issue(owner, time.time()), session.SESSION_SECONDS)

    async def sign_out(self, request: Web) -> str:
        """Ends the session, here and for every copy of its cookie. Returns the value of
        `Set-Cookie`.
        """
        visitor = await self._visitor(request)
        if visitor.nonce is not None:
            await self._must_be_ours(request, visitor)
        if visitor.nonce:
            await self._redis.set(keys.session_ended(visitor.nonce), 1, ex=session.SESSION_SECONDS)
        return self._cookie(request, "", 0)

    async def _visitor(self, request: Web) -> Visitor:
        slots = _slots(request)
        if _VISITOR not in slots:
            slots[_VISITOR] = await self._find(request)
        return cast("Visitor", slots[_VISITOR])

    async def _find(self, request: Web) -> Visitor:
        if not self._tokens:
            raise HttpProblem("not-found")
        scheme, given = _credentials(request.headers.get("authorization", ""))
        if given:
            return Visitor(await self._owner(request, given), None if scheme == "bearer" else "")
        found = session.read(request.cookies.get(session.COOKIE, ""), self._tokens, time.time())
        if found is None or await self._ended(found.nonce):
            raise HttpProblem("not-signed-in", headers=CHALLENGE)
        return Visitor(found.owner, found.nonce)

    async def _owner(self, request: Web, given: str) -> OpsToken:
        """The owner of the token that is shown; where too many wrong ones were, not even a right
        one opens.
        """
        owner = session.same_token(given, self._tokens)
        address = self._address(request)
        if owner and self._lockout.fresh(address, owner.name):
            return owner
        wait = await self._lockout.seconds(address)
        if owner and (not wait or await self._lockout.known(address, owner.name)):
            await self._lockout.right(address, owner.name)
            return owner
        wait = wait or (await self._lockout.wrong(address) if given else 0)
        if wait:
            raise HttpProblem("locked-out", headers={"Retry-After": str(wait)})
        raise HttpProblem("not-signed-in", headers=CHALLENGE)

    async def _ended(self, nonce: str) -> bool:
        """Whether the session was signed out. While Redis is away nobody can say, and little can be
        done.
        """
        if self._breaker.closed:
            try:
                return bool(await self._redis.exists(keys.session_ended(nonce)))
            except (RedisError, OSError):
                self._breaker.trip()
        return False

    async def _must_be_ours(self, request: Web, visitor: Visitor) -> None:
        """What a browser adds by itself is worth nothing without a sign that one of our pages
        asked.
        """
        if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
            await self._refuse(
                request, "Nothing says that it comes from the console's own pages.", visitor
            )
        given = request.headers.get(CSRF_HEADER) or (await form(request)).get(CSRF_FIELD, "")
        if not session.csrf_right(given, visitor.owner, visitor.nonce or ""):
            await self._refuse(request, "The page is too old, or not ours: load it again.", visitor)

    def _from_elsewhere(self, request: Web) -> bool:
        """Whether the request itself says that another site's page made it."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site != "same-origin"
        origin = request.headers.get("origin")
        if origin is None:
            return False
        host = request.headers.get("host", "")
        ours = {
            origin_of(f"http://{host}"),
            origin_of(f"https://{host}"),
            origin_of(self._settings.public_url or ""),
        }
        return origin_of(origin) is None or origin_of(origin) not in ours

    async def _refuse(self, request: Web, detail: str, visitor: Visitor | None = None) -> None:
        """403, and an entry in the trail: a few for each address, so that nobody drowns the
        others.
        """
        found = session.read(request.cookies.get(session.COOKIE, ""), self._tokens, time.time())
        who = visitor.owner.name if visitor else found.owner.name if found else "nobody"
        if not await self._limiter.wait_seconds("ops-refused", self._address(request), TRIES):
            told = origin_of(request.headers.get("origin", "")) or "an unnamed origin"
            with contextlib.suppress(StoreUnavailable):
                await asyncio.to_thread(
                    self._audit.note,
                    who,
                    "refused",
                    request.url.path[:200],
                    f"a post from {told[:200]}",
                )
        raise HttpProblem("cross-site", detail)

    def _address(self, request: Web) -> str:
        peer = request.client.host if request.client else None
        forwarded = request.headers.getall("x-forwarded-for", [])
        return limited_as(client_address(peer, forwarded, self._settings.trusted_proxies))

    def _cookie(self, request: Web, value: str, seconds: int) -> str:
        secure = "; Secure" if self._https(request) else ""
        return (
            f"{session.COOKIE}={value}; Path=/ops; Max-Age={seconds}; HttpOnly;"
            f" SameSite=Strict{secure}"
        )

    def _https(self, request: Web) -> bool:
        """By our own public URL, or by a proxy that is believed."""
        if self._settings.public_url:
            return self._settings.public_url.lower().startswith("https://")
        peer = request.client.host if request.client else None
        believed = (
            client_address(peer, ["192.0.2.1"], self._settings.trusted_proxies) == "192.0.2.1"
        )
        return request.url.scheme == "https" or (
            believed and request.headers.get("x-forwarded-proto", "") == "https"
        )


async def read_body(request: Web) -> bytes:
    """The body, bounded in size and time; asked for twice, it is the same. Raises HttpProblem 408,
    413.
    """
    slots = _slots(request)
    if _BODY not in slots:
        slots[_BODY] = await body.read(request.receive, MOST_BODY)
    return cast("bytes", slots[_BODY])


async def form(request: Web) -> dict[str, str]:
    """The fields of a form post, the last of each name; nothing where it is no form. Raises
    HttpProblem 400, 408, 413.
    """
    if (
        body.media_type(request.headers.get("content-type", ""))
        != "application/x-www-form-urlencoded"
    ):
        return {}
    text = (await read_body(request)).decode("utf-8", "replace")
    try:
        return {
            name: values[-1]
            for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=1000).items()
        }
    except ValueError:
        raise HttpProblem("unreadable", errors=[FieldError("", "more than 1000 fields")]) from None


def _slots(request: Web) -> MutableMapping[str, Any]:
    return cast("MutableMapping[str, Any]", request.scope)


def _credentials(header: str) -> tuple[str, str]:
    """Scheme and token of an Authorization header; nothing of one that is neither bearer nor
    Basic.
    """
    scheme, _, value = header.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if len(value) > LONGEST_TOKEN:
        return "", ""
    if scheme == "bearer":
        return scheme, value
    if scheme != "basic":
        return "", ""
    try:
        return scheme, base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return "", ""
