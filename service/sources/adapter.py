"""What a product's file must say of it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from service.sources.config import Source, Verify
from service.sources.payload import Payload
from service.sources.proof import Scheme
from service.sources.reading import Answer, Reading, Request
from service.sources.units import Rate


class Adapter(Struct, frozen=True, kw_only=True):
    """A product: how its payload is read and what it expects of us. All functions are pure.

    `read` raises Unreadable. `verify` is in force where a source has no scheme of its own; `scheme` is a check that no
    configuration can say (then `verify.scheme` is None). `parks`: what has nobody to contact is accepted and parked, because
    a 4xx would make the product drop it. `reply` is the status that the product counts as success, `answer` the whole answer
    where it asks for one of its own. `handshake` answers a GET.
    """

    name: str
    read: Callable[[Request, Source], list[Payload]]
    verify: Verify = Verify(scheme="none")
    scheme: Scheme | None = None
    rate: Rate | None = None
    parks: bool = True
    reply: int = 202
    answer: Answer | None = None
    handshake: Callable[[Request, Source], Reading] | None = None

    @property
    def has_scheme(self) -> bool:
        """Whether the product signs or proves what it sends, so that a source of it needs a secret."""
        return self.scheme is not None or self.verify.scheme != "none"
