"""Who calls: the API token, or an access token issued by the sandbox's own token endpoint."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.sandbox.account.company import Company
from service.sandbox.api_errors import GatewayError, unauthorized

SCOPE = "base leads:full contacts:full deals:full admin"
MAX_ACCESS_TOKENS = 1000
CALLER_ID = 1


class Caller(NamedTuple):
    """Whose credentials a call carries; `token` keys the burst windows."""

    user_id: int
    token: str
    oauth: bool


class Credentials:
    """Checks and issues tokens. Valid tokens survive a restart."""

    def __init__(self, company: Company) -> None:
        self._settings = company.settings
        self._clocks = company.clocks
        self._company = company

    def identify(self, headers: dict[str, str]) -> Caller:
        """The caller; raises `GatewayError` (401) for missing, wrong or expired credentials."""
        key = headers.get("x-api-token")
        if key is not None:
            if hmac.compare_digest(key.encode(), self._settings.api_token.encode()):
                return Caller(CALLER_ID, "api-token", False)
            raise unauthorized()
        scheme, _, token = headers.get("authorization", "").partition(" ")
        until = self._access_tokens().get(token.strip()) if scheme.lower() == "bearer" else None
        if until is None or until <= self._clocks.wall():
            raise unauthorized()
        return Caller(CALLER_ID, "oauth", True)

    def refresh(self, headers: dict[str, str], form: dict[str, Any], host: str) -> dict[str, Any]:
        """The response of the token endpoint.

        Raises `GatewayError`: 400 `invalid_grant` or `unsupported_grant_type`, 401
        `invalid_client`.
        """
        if not self._is_client(headers.get("authorization", "")):
            raise _oauth_error(401, "invalid_client", "Client authentication failed")
        if form.get("grant_type") != "refresh_token":
            raise _oauth_error(
                400, "unsupported_grant_type", "Only refresh_token is supported here"
            )
        current = self._refresh_token()
        if not hmac.compare_digest(str(form.get("refresh_token", "")).encode(), current.encode()):
            raise _oauth_error(
                400, "invalid_grant", "Refresh token is invalid or was exchanged already"
            )
        if self._settings.rotate_refresh_token:
            current = f"1:1:{secrets.token_hex(20)}"
            self._company.store.set_value("refresh-token", current)
        return {
            "access_token": self._issue_access_token(),
            "token_type": "Bearer",
            "refresh_token": current,
            "scope": SCOPE,
            "expires_in": self._settings.access_token_seconds,
            "api_domain": f"http://{host}",
        }

    def expire_access_tokens(self) -> None:
        """Invalidate every access token."""
        self._company.store.set_value("access-tokens", {})

    def _issue_access_token(self) -> str:
        # As long as Pipedrive's can be, so that code which truncates tokens is noticed.
        token = f"v1u:{secrets.token_urlsafe(570)}"
        now = self._clocks.wall()
        valid = {key: until for key, until in self._access_tokens().items() if until > now}
        valid[token] = now + self._settings.access_token_seconds
        latest = dict(list(valid.items())[-MAX_ACCESS_TOKENS:])
        self._company.store.set_value("access-tokens", latest)
        return token

    def _access_tokens(self) -> dict[str, float]:
        return self._company.store.get_value("access-tokens") or {}

    def _refresh_token(self) -> str:
        return self._company.store.get_value("refresh-token") or self._settings.refresh_token

    def _is_client(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        try:
            credentials = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = f"{self._settings.client_id}:{self._settings.client_secret}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(credentials, expected)


def _oauth_error(status: int, error: str, message: str) -> GatewayError:
    return GatewayError(status, {"success": False, "error": error, "message": message}, [])


OTHER_SITE_BODY = b'{"success":false,"error":"This request comes from a page of another site"}'


def refuse_other_sites(app: ASGIApp) -> ASGIApp:
    """A middleware that answers 403 to what the request itself says is another site's.

    A browser sends requests to loopback for any page that a developer visits. It could set faults,
    reset the account, or read it under a name of its own that resolves to loopback.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and _is_from_elsewhere(Request(scope)):
            response = Response(OTHER_SITE_BODY, status_code=403, media_type="application/json")
            await response.to_asgi_response(None, Request(scope))(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


def _is_from_elsewhere(request: Request) -> bool:  # type: ignore[type-arg]
    host = request.headers.get("host", "")
    if not _is_address_or_localhost(host):
        return True
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return request.headers.get("sec-fetch-mode") != "navigate" or request.method != "GET"
    origin = request.headers.get("origin")
    return origin is not None and origin.lower() != f"http://{host}".lower()


def _is_address_or_localhost(host: str) -> bool:
    """A name other than `localhost` may be anybody's, whatever it resolves to just now."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in ("localhost", "testserver.local") or bool(ip_address(name))
    except ValueError:
        return False
