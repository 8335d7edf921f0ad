"""What holds for whatever a stranger sends, and the sources that it is sent to."""

from __future__ import annotations

import msgspec

from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest, NormalizationResult, Outcome, SourceEvent
from service.sources.schema import Source
from service.sources.source_file.loader import load_sources

NOW = 1_700_000_000.0

READ = """
[sources.x]
honeypot = ["hp"]
min_fill_seconds = 3
map = { "a.b" = "email", "name" = "phone", "x" = "value", "0.y" = "consent" }
[sources.x.read]
root = "data"
json_param = ["j", "data.j"]
pairs = { at = "data.p" }
unwrap_lists = true
event_id = "id"
test = { at = "t" }
only = { at = "o.0", equals = [1, "x", true] }
labels = { country = ["wo"] }
"""
SCHEMES = (
    'scheme = "token"\nheader = "X-A"',
    'scheme = "token"\nquery = "a"',
    'scheme = "token"\nfield = "a.0"',
    (
        'scheme = "hmac"\nheader = "X-A"\ntimestamp_header = "X-B"\nid_header = "X-C"\nsigned ='
        ' "{id}{timestamp}{url}{body}"'
    ),
    'scheme = "hmac"\nheader = "X-A"\nlist = "t=,v1="\nencoding = "base64"\nprefix = "v1="',
    'scheme = "standard-webhooks"',
    'scheme = "jwt"\nheader = "X-A"',
)


def configured_sources() -> list[Source]:
    """A source with all that `read` and `map` can say, and one for each scheme of verification."""
    schemes = (f'[sources.x.verify]\nsecret_env = "K"\n{scheme}' for scheme in SCHEMES)
    return [_load(toml) for toml in ("[sources.x]", READ, *schemes)]


def product_sources() -> list[Source]:
    """A source for each adapter, without verification: its reader meets every body."""
    unverified = '[sources.x]\nadapter = "{}"\n[sources.x.verify]\nscheme = "none"'
    return [_load(unverified.format(name)) for name in sorted(ADAPTERS)]


def _load(toml: str) -> Source:
    return load_sources(toml, {"K": "whsec_a2V5"}).sources["x"]


def check_reading(source: Source, request: InboundRequest) -> NormalizationResult:
    """Read a request; the result is one that the intake can answer and the ledger can store.

    Raises AssertionError, or whatever the reader raised.
    """
    result = process_request(source, request, NOW)
    assert isinstance(result, NormalizationResult)
    if result.outcome in (Outcome.REFUSED, Outcome.UNREADABLE):
        assert result.status in (400, 401, 403, 405, 413, 415, 422), result.status
        assert not result.events
    elif result.outcome not in (Outcome.HANDSHAKE, Outcome.NO_LEAD):
        assert result.events  # a ping or an empty batch is genuine and has none
    stored = msgspec.json.encode(result.events)
    assert msgspec.json.decode(stored, type=list[SourceEvent]) == result.events
    assert isinstance(redact_request(source, request).body, bytes)
    return result
