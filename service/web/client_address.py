"""The address of the client: the connection's peer, or the one that a trusted proxy names."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from litestar import Request

from worker.settings.types import Network

IpAddress = IPv4Address | IPv6Address
MAX_HOPS = 32


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Find the right-most hop that is not a trusted proxy; "unknown" if the peer has no address.

    `forwarded` are the X-Forwarded-For headers in order. Whatever is left of that hop may have been
    written by the client, and proves nothing.
    """
    client = _parse_address(peer or "")
    if client is None:
        return "unknown"
    hops = [hop for line in forwarded for hop in line.split(",")]
    for hop in reversed(hops[-MAX_HOPS:]):
        if not _is_trusted(client, trusted):
            break
        previous = _parse_address(hop)
        if previous is None:
            break
        client = previous
    return str(client)


def rate_limit_address(address: str) -> str:
    """What a rate limit counts by: an IPv4 address, or the /64 that one IPv6 customer owns."""
    parsed = _parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return address


def requester_address(request: Request[Any, Any, Any], trusted: Sequence[Network]) -> str:
    """The address by which a request counts in rates and lock-outs."""
    peer = request.client.host if request.client else None
    forwarded = request.headers.getall("x-forwarded-for", [])
    return rate_limit_address(client_address(peer, forwarded, trusted))


def is_loopback(host: str) -> bool:
    """Whether this is an address of the machine itself."""
    address = _parse_address(host)
    return address is not None and address.is_loopback


def is_trusted_proxy(peer: str | None, trusted: Sequence[Network]) -> bool:
    """Whether what this peer says about its clients is believed."""
    address = _parse_address(peer or "")
    return address is not None and _is_trusted(address, trusted)


def _parse_address(text: str) -> IpAddress | None:
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _is_trusted(address: IpAddress, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
