"""What the file of a product declares: an `Adapter`, and how the wizard recognises the product."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from msgspec import Struct, field

from service.sources.payload.decode import is_form
from service.sources.payload.event import ParsedEvent
from service.sources.payload.tree import Tree
from service.sources.payload.unwrap import MAX_EVENTS
from service.sources.request import CustomResponse, InboundRequest, NormalizationResult
from service.sources.schema import Rate, Source, VerifySettings
from service.sources.verification.common import Scheme


class RecordApi(Struct, frozen=True, kw_only=True):
    """The API from which the worker fetches the record of an event that carries ids only.

    `targets` returns the paths of a record below `base_url`, the one with most fields first; the
    next one is tried if access to it is forbidden. `read` takes the decoded record and raises
    UnreadableBody. The source's `fetch.version` goes into `version_header`. Both functions are
    pure. `token_env` is the variable that `leadline sources new` suggests for the token.
    """

    base_url: str
    targets: Callable[[str, Source], list[str]]
    read: Callable[[Tree, Source], ParsedEvent]
    token_env: str
    headers: dict[str, str] = field(default_factory=dict)
    version_header: str | None = None


class Evidence(IntEnum):
    """Kinds of evidence for a product, the most reliable first: the wizard tries them in order."""

    HEADER = 1
    BODY = 2
    RECORD = 3
    HANDSHAKE = 4
    CONVENTION = 5


class Detector(Struct, frozen=True, kw_only=True):
    """One way to recognise that a captured request comes from a product.

    `matches` takes the request and the top object of its body ({} if there is none), in which
    names such as `data[email]` are already nested. `reason` completes "recognised by …".
    """

    evidence: Evidence
    reason: str
    matches: Callable[[InboundRequest, dict[str, Tree]], bool]


def by_header(*names: str, evidence: Evidence = Evidence.HEADER) -> Detector:
    """Headers (in lower case) that no other product sends; a request must have all of them."""
    return Detector(
        evidence=evidence,
        reason=f"the header{'s' if len(names) > 1 else ''} {_enumerate(names)}",
        matches=lambda request, _: all(request.header(name) is not None for name in names),
    )


def by_body(
    matches: Callable[[dict[str, Tree]], bool],
    reason: str,
    *,
    is_posted_form: bool = False,
    evidence: Evidence = Evidence.BODY,
) -> Detector:
    """A body that only this product sends; `is_posted_form`: only as form fields, not as JSON.

    `Evidence.CONVENTION` is for names that another product might use as well.
    """
    return Detector(
        evidence=evidence,
        reason=reason,
        matches=lambda request, top: (is_form(request) or not is_posted_form) and matches(top),
    )


def by_record(matches: Callable[[dict[str, Tree]], bool], reason: str) -> Detector:
    """A record of the product's API: what the worker fetches, not what the product posts."""
    return Detector(evidence=Evidence.RECORD, reason=reason, matches=lambda _, top: matches(top))


def by_handshake(*parameters: str) -> Detector:
    """The query parameters of the GET with which the product checks that the URL is ours."""
    return Detector(
        evidence=Evidence.HANDSHAKE,
        reason=f"{_enumerate(parameters)} in the query of a GET: a check that the URL is yours",
        matches=lambda request, _: (
            request.method == "GET" and all(f"{name}=" in request.query for name in parameters)
        ),
    )


def has_keys(*names: str) -> Callable[[dict[str, Tree]], bool]:
    """A test for `by_body` and `by_record`: the top object has all these keys."""
    return lambda top: top.keys() >= set(names)


def _enumerate(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


class Adapter(Struct, frozen=True, kw_only=True):
    """A product: how its payload is read and what it expects of us. All functions are pure.

    `name` is that of the file, with dashes; `title` is the product's own. `read` raises
    UnreadableBody. `verify` applies where a source sets no scheme of its own; `scheme` is a check
    that no setting can describe (then `verify.scheme` is None). `reply` is the status that the
    product counts as success, `response` a whole response where it wants one of its own.
    `handshake` answers a GET; `has_verify_token`: with a token of its own (`verify.challenge_env`).
    `answer_post` answers a verified POST that only checks the URL, and returns None for any other;
    `answers_unsigned`: the product does not sign that POST, so it is answered unverified.
    `record_api` is set if events carry ids only. `detectors` are for the wizard.

    `reads_any_payload`: there is no fixed shape, so `[sources.X.read]` says how to unwrap it.
    `rejects_no_contact`: a post without any contact gets a 422, because whoever sent it can
    correct it. Products would drop the event, so theirs is accepted and becomes a dead letter.
    `sent_by_people`: a person waits for a call, so these leads are delivered first.
    `max_events` is how many events one request may hold, the product's own batch where it has one;
    of a source that demands no proof of origin, never more than `MAX_EVENTS`.
    `names_charsets`: a field of the body names the charset of each text, so that none is guessed.
    `error_member`: the member of a JSON error in which the product shows `detail` to its users.
    """

    name: str
    title: str
    read: Callable[[InboundRequest, Source], list[ParsedEvent]]
    detectors: tuple[Detector, ...] = ()
    verify: VerifySettings = VerifySettings(scheme="none")
    scheme: Scheme | None = None
    rate: Rate | None = None
    reads_any_payload: bool = False
    rejects_no_contact: bool = False
    sent_by_people: bool = False
    max_events: int = MAX_EVENTS
    names_charsets: bool = False
    error_member: str | None = None
    reply: int = 202
    response: CustomResponse | None = None
    handshake: Callable[[InboundRequest, Source], NormalizationResult] | None = None
    has_verify_token: bool = False
    answer_post: Callable[[InboundRequest, Source], NormalizationResult | None] | None = None
    answers_unsigned: bool = False
    record_api: RecordApi | None = None

    @property
    def has_scheme(self) -> bool:
        """Whether the product proves that it is the sender: then a source of it needs a secret."""
        return self.scheme is not None or self.verify.scheme != "none"
