"""The HTTP client for every URL that a setting or the source file names, Pipedrive's own aside.

Whatever the URL says and its name resolves to, the client speaks https with a public address and
nothing else, unless `LEADLINE_ALLOW_PRIVATE_URLS` is yes. The connection goes to the very address
that was checked, so a name that resolves to another one a moment later gains nothing; TLS still
proves the name. As with calls to Pipedrive, no redirect is followed, no proxy of the environment
used, and the answer is bounded: see `worker.pipedrive.transport.exchange`.
"""

from __future__ import annotations

import ssl

import httpcore
import httpx

from worker.pipedrive.deadline import Deadline, LookUp, TimedBackend, look_up
from worker.pipedrive.transport import PlainClient, TimedTransport, build_tls
from worker.settings.public_url import is_public_address


class AddressNotAllowed(httpx.TransportError):
    """The URL is not https, or its host has no public address; nothing was sent."""


def build_guarded_http(
    ssl_context: ssl.SSLContext | None = None,
    *,
    allow_private: bool,
    look_up: LookUp = look_up,
    inner: httpcore.NetworkBackend | None = None,
) -> httpx.Client:
    """Return a client for URLs that are configured; `allow_private` is the setting's value.

    Its requests raise `AddressNotAllowed` where they may not go. `look_up` resolves names, and
    `inner` connects to what they resolve to.
    """
    tls = ssl_context or build_tls()
    if allow_private:
        return PlainClient(TimedTransport(tls, TimedBackend(look_up, inner)))
    return PlainClient(GuardedTransport(tls, GuardedBackend(look_up, inner)))


class GuardedTransport(TimedTransport):
    """Refuses requests that are not https."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != "https":
            raise AddressNotAllowed("the URL is not https")
        return super().handle_request(request)


class GuardedBackend(TimedBackend):
    """Connects to public addresses only."""

    def find_addresses(self, host: str, port: int, limit: Deadline) -> list[str]:
        """Return the public addresses of the host. Raises `AddressNotAllowed` if it has none."""
        addresses = super().find_addresses(host, port, limit)
        public = [address for address in addresses if is_public_address(address)]
        if addresses and not public:
            raise AddressNotAllowed(f"{host} is {addresses[0]}, which is not a public address")
        return public
