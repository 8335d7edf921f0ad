"""Which URLs a setting or the source file may name: https, and a host that anybody can reach.

A URL that may name any address turns this machine into a way around the firewall: to a cloud's
metadata service, to a database without a password, to Leadline itself. Here is what can be told
from the URL alone; what its name resolves to, `worker.pipedrive.guarded_http` checks.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

EXPECTED_PUBLIC_URL = "an https URL of a public host, unless LEADLINE_ALLOW_PRIVATE_URLS is yes"

# IPv4 that nobody on the internet has. A list of our own, because `is_global` changes with the
# version of Python. https://www.iana.org/assignments/iana-ipv4-special-registry/
_PRIVATE_IPV4 = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT; Alibaba Cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform, https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocols; Oracle Cloud's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
# IPv6 is public only here, and not in what follows: tunnels carry an IPv4 address of anybody's
# choice, and the rest is for documents and protocols.
# https://www.iana.org/assignments/iana-ipv6-special-registry/
_GLOBAL_IPV6 = ip_network("2000::/3")
_PRIVATE_IPV6 = [
    ip_network(network)
    for network in (
        "2001::/23",  # protocols; Teredo
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
]
# Machines without IPv4 reach every server that has nothing else through this prefix, RFC 6052: the
# address in its last four bytes counts.
_NAT64 = ip_network("64:ff9b::/96")

# Names that are never public: RFC 6761, RFC 6762, RFC 8375, and what ICANN reserved for inside use.
_PRIVATE_NAMES = re.compile(r"(.*\.)?(localhost|local|internal|home\.arpa)")
# What system resolvers take for an IPv4 address in another notation, such as 0x7f.1.
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")


def is_public_address(text: str) -> bool:
    """Whether an IP address is one of the public internet; false for anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _PRIVATE_IPV4)
    return _is_public_ipv6(address)


def _is_public_ipv6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public_address(str(IPv4Address(int(address) & 0xFFFF_FFFF)))
    return address in _GLOBAL_IPV6 and not any(address in network for network in _PRIVATE_IPV6)


def find_url_fault(url: str) -> str | None:
    """What keeps a URL from being allowed, in words that don't show it; None if nothing does."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "no URL"
    if parts.scheme != "https":
        return "plain http" if parts.scheme == "http" else "no https URL"
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().rstrip(".")
    is_literal = ":" in host or _NUMBER.fullmatch(host)
    if not host or _PRIVATE_NAMES.fullmatch(host) or (is_literal and not is_public_address(host)):
        return "a private host"
    return None
