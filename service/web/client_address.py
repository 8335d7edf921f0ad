"""Who is calling: the peer, or what a trusted proxy says of it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from worker.values import Network

Address = IPv4Address | IPv6Address
MOST_HOPS = 32


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The right-most hop that is no trusted proxy; `forwarded` are the X-Forwarded-For headers in
    order.

    Everything left of that hop was written by the sender and is worth nothing.
    """
    here = _read(peer or "")
    if here is None:
        return "unknown"
    hops = [hop for line in forwarded for hop in line.split(",")]
    for hop in reversed(hops[-MOST_HOPS:]):
        if not _is_trusted(here, trusted):
            break
        further = _read(hop)
        if further is None:
            break
        here = further
    return str(here)


def limited_as(address: str) -> str:
    """What a limit counts: an IPv4 address, or the /64 that one IPv6 customer has to himself."""
    found = _read(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, 64), strict=False))
    return address


def _read(text: str) -> Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
