"""The first lead: a command to paste into a terminal for each source that takes one without a
secret.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec import Struct

from service.sources.schema import Source

MOST = 3
FORMS = {"form": "name=Ada Lovelace|email=ada@example.com|message=Please call me|utm_campaign=test"}


class Sample(Struct, frozen=True):
    source: str
    text: str
    command: str


def samples(sources: Mapping[str, Source], base: str) -> list[Sample]:
    """Sources that anybody may post to come first; of those with a secret the command says where it
    goes.
    """
    ranked = sorted(sources.values(), key=lambda source: (_rank(source), source.name))
    return [_sample(source, base.rstrip("/")) for source in ranked[:MOST] if _rank(source) < 2]


def _rank(source: Source) -> int:
    """0: plain; 1: a token in a header; 2: signed, or a product's own payload, which a hand cannot
    write.
    """
    if source.adapter not in ("form", "json"):
        return 2
    scheme = source.check.scheme
    return 0 if scheme == "none" else 1 if scheme == "token" and source.check.header else 2


def _sample(source: Source, base: str) -> Sample:
    words = ["curl", "-i"]
    if _rank(source) == 1:
        words += ["-H", f"{source.check.header}: THE-VALUE-OF-{source.check.secret_env[0]}"]
    if source.origins:
        words += ["-H", f"Origin: {source.origins[0]}"]
    if source.adapter == "json":
        body = '{"name": "Ada Lovelace", "email": "ada@example.com", "message": "Please call me"}'
        words += ["-H", "Content-Type: application/json", "-d", body]
    else:
        for field in FORMS["form"].split("|"):
            words += ["--data-urlencode", field]
    text = "with its secret" if _rank(source) else source.adapter
    return Sample(source.name, text, shlex.join([*words, f"{base}/in/{source.name}"]))
