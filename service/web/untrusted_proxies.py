"""Notices a proxy that `LEADLINE_TRUSTED_PROXIES` does not name: behind it all visitors are one.

Whoever posts can write a forwarded header, so one alone proves nothing. What counts is who sends
it. A peer in a private network is no visitor from the internet: after a few such requests it is
taken for a proxy, and its address for one that visitors share. A public peer may be a proxy
elsewhere, or a stranger who forges: it is noticed only once it has named many clients, and its
address is never taken for shared, or else a stranger could lift his own rate limit.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from service.web.client_address import MAX_HOPS
from worker.settings.types import PRIVATE_NETWORKS, Network

FORWARDED_HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip")
_FOR = re.compile(r'(?:^|;)\s*for="?([^";,]+)', re.IGNORECASE)

# Requests with a forwarded header after which a private peer counts as a proxy.
MIN_PRIVATE_REQUESTS = 3
# Different clients that a public peer must have named.
MIN_PUBLIC_CLIENTS = 20
# How long after its last forwarded header a peer still counts, so that nothing flaps.
REMEMBER_SECONDS = 3600.0
# Peers that are remembered of each kind, those seen last.
MAX_PEERS = 1000


class _Peer:
    def __init__(self) -> None:
        self.requests = 0
        self.clients: set[int] = set()
        self.last_at = 0.0


class UntrustedProxies:
    """One per process. `monotonic` returns seconds and never goes back."""

    def __init__(
        self, trusted: Sequence[Network], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._trusted = trusted
        self._monotonic = monotonic
        # Strangers cannot push private peers out of the memory.
        self._private: OrderedDict[str, _Peer] = OrderedDict()
        self._public: OrderedDict[str, _Peer] = OrderedDict()
        self._present_until = -REMEMBER_SECONDS

    def observe(self, client: str, headers: Sequence[tuple[str, str]]) -> None:
        """Notes a request. `client` is the nearest hop that is no trusted proxy."""
        hops = _forwarded_hops(headers)
        while hops and (hops[-1] == client or _is_in(hops[-1], self._trusted)):
            hops.pop()
        if not hops:  # nobody is named beyond the client itself
            return
        is_private = _is_in(client, PRIVATE_NETWORKS)
        if is_private is None or _is_in(client, self._trusted):
            return
        peers = self._private if is_private else self._public
        peer = peers.setdefault(client, _Peer())
        peers.move_to_end(client)
        while len(peers) > MAX_PEERS:
            peers.popitem(last=False)
        now = self._monotonic()
        if now - peer.last_at > REMEMBER_SECONDS:
            peer.requests, peer.clients = 0, set()
        peer.last_at = now
        peer.requests += 1
        if len(peer.clients) < MIN_PUBLIC_CLIENTS:
            peer.clients.add(hash(tuple(hops)))
        if self._counts(peer, is_private=is_private):
            self._present_until = now + REMEMBER_SECONDS

    def is_shared(self, client: str) -> bool:
        """Whether this address is that of a private proxy, so that it stands for no one visitor."""
        peer = self._private.get(client)
        return (
            peer is not None
            and self._counts(peer, is_private=True)
            and self._monotonic() - peer.last_at <= REMEMBER_SECONDS
        )

    @property
    def are_present(self) -> bool:
        return self._monotonic() < self._present_until

    @staticmethod
    def _counts(peer: _Peer, *, is_private: bool) -> bool:
        if is_private:
            return peer.requests >= MIN_PRIVATE_REQUESTS
        return len(peer.clients) >= MIN_PUBLIC_CLIENTS


def _forwarded_hops(headers: Sequence[tuple[str, str]]) -> list[str]:
    """Who was passed on, the nearest last, by the first of the headers that is there."""
    for wanted_name in FORWARDED_HEADERS:
        values = [value for name, value in headers if name == wanted_name]
        if values:
            hops = [hop for value in values for hop in value.split(",")][-MAX_HOPS:]
            return [address for hop in hops if (address := _hop_address(hop))]
    return []


def _hop_address(hop: str) -> str:
    """`for="[2001:db8::1]:4711";proto=https` is `2001:db8::1`; what is no address stays."""
    node = _FOR.search(hop)
    text = node[1] if node else hop.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_in(address: str, networks: Sequence[Network]) -> bool | None:
    """Whether the address is in one of the networks; None if it is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return any(parsed.version == network.version and parsed in network for network in networks)
