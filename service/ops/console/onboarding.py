"""The first lead: for each source that takes one by hand, a command to paste into a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec import Struct

from service.sources.schema import Source

MAX_COMMANDS = 3
SAMPLE_FORM = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "message": "Please call me",
    "utm_campaign": "test",
}
SAMPLE_JSON = '{"name": "Ada Lovelace", "email": "ada@example.com", "message": "Please call me"}'


class SampleCommand(Struct, frozen=True):
    """`note` says what else there is to know."""

    source: str
    note: str
    command: str


def build_sample_commands(sources: Mapping[str, Source], base_url: str) -> list[SampleCommand]:
    """Sources that need no secret come first; for a token the command has a placeholder."""
    ranked = sorted(sources.values(), key=lambda source: (_effort(source), source.name))
    postable = [source for source in ranked if _effort(source) < 2]
    return [_sample_command(source, base_url.rstrip("/")) for source in postable[:MAX_COMMANDS]]


def _effort(source: Source) -> int:
    """0: plain. 1: a token in a header. 2: signed, or a product's own payload: not by hand."""
    if source.adapter not in ("form", "json"):
        return 2
    scheme = source.verification.scheme
    return 0 if scheme == "none" else 1 if scheme == "token" and source.verification.header else 2


def _sample_command(source: Source, base_url: str) -> SampleCommand:
    words = ["curl", "-i"]
    verify = source.verification
    if _effort(source) == 1:
        words += ["-H", f"{verify.header}: THE-VALUE-OF-{verify.secret_env[0]}"]
    if source.origins:
        words += ["-H", f"Origin: {source.origins[0]}"]
    if source.adapter == "json":
        words += ["-H", "Content-Type: application/json", "-d", SAMPLE_JSON]
    else:
        for name, value in SAMPLE_FORM.items():
            words += ["--data-urlencode", f"{name}={value}"]
    note = "needs its secret" if _effort(source) else source.adapter
    command = shlex.join([*words, f"{base_url}/in/{source.name}"])
    return SampleCommand(source.name, note, command)
