"""What the file of a product declares: an `Adapter`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.request import CustomResponse, InboundRequest, NormalizationResult
from service.sources.schema import Rate, Source, VerifySettings
from service.sources.verification.common import Scheme


class RecordApi(Struct, frozen=True, kw_only=True):
    """Where a product's API keeps the records of events with ids only, and how they are read.

    `targets` returns the paths of a record below `base_url`, the fullest first: the next is tried
    where one is forbidden. `read` takes the decoded record and raises UnreadableBody. The source's
    `fetch.version` goes into `version_header`. Both functions are pure.
    """

    base_url: str
    targets: Callable[[str, Source], list[str]]
    read: Callable[[Tree, Source], ParsedEvent]
    headers: dict[str, str] = field(default_factory=dict)
    version_header: str | None = None


class Adapter(Struct, frozen=True, kw_only=True):
    """A product: how its payload is read and what it expects of us. All functions are pure.

    `read` raises UnreadableBody. `verify` applies where a source has no scheme of its own; `scheme`
    is a check that no configuration can describe (then `verify.scheme` is None). `reply` is the status
    that the product counts as success, `response` the whole response where it asks for one of its
    own. `handshake` answers a GET. `record_api` is set where events carry ids only.

    `rejects_unreachable`: a post without anybody to contact gets a 422, because whoever sent it can
    correct it. Products would drop the event, so theirs is accepted and becomes a dead letter.
    `sent_by_people`: a person waits for a call, so these leads are delivered first.
    `error_member`: the member of a JSON error in which the product shows `detail` to its users.
    """

    name: str
    read: Callable[[InboundRequest, Source], list[ParsedEvent]]
    verify: VerifySettings = VerifySettings(scheme="none")
    scheme: Scheme | None = None
    rate: Rate | None = None
    rejects_unreachable: bool = False
    sent_by_people: bool = False
    error_member: str | None = None
    reply: int = 202
    response: CustomResponse | None = None
    handshake: Callable[[InboundRequest, Source], NormalizationResult] | None = None
    record_api: RecordApi | None = None

    @property
    def has_scheme(self) -> bool:
        """Whether the product signs or proves what it sends, so that a source of it needs a
        secret.
        """
        return self.scheme is not None or self.verify.scheme != "none"
