"""The drift guard: whether the account still has what the source file names, asked hourly, before
the first lead fails of it.

    one worker process, once an hour or when the source file changes -> `drift` of the account -> console, metrics, alerts

`leadline check` asks the same by itself. Costs what the catalogue's reading costs: at most 51 API
tokens an hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
import redis
import structlog
from msgspec import Struct

from worker.drift.unresolved_names import UnresolvedName, find_unresolved, names_by_kind
from worker.errors import Forbidden, LeadlineError
from worker.lead.settings import LeadMapping
from worker.pipedrive.metadata import KIND_NAMES, MetadataKind
from worker.pipedrive.metadata_cache import MetadataCache
from worker.store import keys
from worker.store.connection import ask, translate_errors

CHECK_SECONDS = 3600.0
RETRY_SECONDS = 300.0
"""After a look that could not be finished."""
LOCK_SECONDS = 60
TICK_SECONDS = 5.0

SCOPES = {
    "base": {"base"},
    "leads:full": {"leads:full"},
    "contacts:full": {"contacts:full"},
    "deals:read": {"deals:read", "deals:full", "admin", "deal-fields:full"},
}
"""OAuth scopes a delivery needs, and what grants each: pipedrive's reference, `security` of each
operation.
"""

log = structlog.get_logger("leadline.drift")


class DriftFinding(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing the account lacks. `needed`: submissions that need it will die; else leads flow
    without it.

    `settings` are the places in the source file, `known` the names the account has instead.
    """

    kind: str
    message: str
    needed: bool
    settings: list[str] = []
    sources: list[str] = []
    name: str | None = None
    known: list[str] = []


class DriftReport(Struct, frozen=True):
    """What the last look found, `at` (Unix seconds). `error` says why it could not see
    everything.
    """

    at: float
    mappings_version: str
    found: list[DriftFinding]
    error: str | None = None


class DriftGuard:
    """For one worker process; of several, one looks. `clock` is the ledger's."""

    def __init__(
        self,
        connection: redis.Redis,
        mappings: Mapping[str, LeadMapping],
        metadata: MetadataCache,
        clock: Callable[[], float],
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._account = account
        self._mappings = mappings
        self._metadata = metadata
        self._clock = clock
        self._next = 0.0

    def tick(self) -> None:
        """Looks when the last look is an hour old, was at another source file, or found a lack and
        the account was read since.

        A retry reads the names again: what it finds mended is no longer said to lack. May raise
        `StoreUnavailable`.
        """
        now = self._clock()
        if now < self._next:
            return
        self._next = now + TICK_SECONDS
        version = _version(self._mappings)
        report = last_report(self._redis)
        if (
            report is not None
            and report.mappings_version == version
            and _is_fresh(report, now)
            and not self._read_since(report)
        ):
            return
        if ask(lambda: self._redis.set(self._account.drift_lock, b"1", nx=True, ex=LOCK_SECONDS)):
            self._report(self._look(version))

    def _look(self, version: str) -> DriftReport:
        found: list[DriftFinding] = list(self._scopes())
        readable: set[MetadataKind] = set()
        error = None
        for kind in names_by_kind(self._mappings):
            try:
                self._metadata.refresh([kind], gap=CHECK_SECONDS / 2)
                readable.add(kind)
            except Forbidden as refused:
                found.append(
                    DriftFinding(
                        kind="permission",
                        message=_forbidden(kind, refused),
                        needed=True,
                        name=kind.value,
                    )
                )
            except LeadlineError as failed:
                error = f"{KIND_NAMES[kind]}s: {failed.code}"
        try:
            found += [
                _to_finding(each)
                for each in find_unresolved(self._mappings, self._metadata, readable)
            ]
        except LeadlineError as failed:
            error = failed.code
        return DriftReport(at=self._clock(), mappings_version=version, found=found, error=error)

    def _read_since(self, report: DriftReport) -> bool:
        """Whether what it lacked may be there by now."""
        return bool(report.found) and any(
            table.at > report.at for table in self._metadata.snapshot().values()
        )

    def _scopes(self) -> Iterator[DriftFinding]:
        """Those that the app was not granted, as the token endpoint said; an API token has its
        user's rights and no scopes.
        """
        for scope in missing_scopes(granted_scopes(self._redis)):
            message = f"the app was not granted the scope {scope}: add it and connect the app again"
            yield DriftFinding(kind="scope", message=message, needed=True, name=scope)

    def _report(self, report: DriftReport) -> None:
        """Stores it, and says in the log what is new. The turn lapses by itself: another look may
        be due soon.
        """
        before = last_report(self._redis)
        known = {each.message for each in before.found} if before else set()
        ask(lambda: self._redis.set(self._account.drift, msgspec.json.encode(report)))
        for each in report.found:
            if each.message not in known:
                # Owners are people: their names and addresses stay out of the log.
                name = {} if each.kind == KIND_NAMES[MetadataKind.OWNERS] else {"name": each.name}
                log.warning(
                    "the account lacks what the source file names",
                    kind=each.kind,
                    settings=each.settings,
                    **name,
                )


def granted_scopes(connection: redis.Redis) -> str:
    """What the token endpoint named last; empty where it named nothing. Raises
    `StoreUnavailable`.
    """
    with translate_errors():
        stored = connection.hget(keys.DEFAULT_ACCOUNT.oauth, "scopes")
    return stored.decode() if isinstance(stored, bytes) else ""


def missing_scopes(granted: str) -> list[str]:
    """Scopes a delivery needs and the app was not granted; none where the token endpoint named
    none.
    """
    found = set(granted.replace(",", " ").split())
    return [scope for scope, enough in SCOPES.items() if found and not found & enough]


def last_report(connection: redis.Redis) -> DriftReport | None:
    """The newest report; None before the first. Raises `StoreUnavailable`."""
    with translate_errors():
        stored = connection.get(keys.DEFAULT_ACCOUNT.drift)
    return decode_report(stored if isinstance(stored, bytes) else None)


def decode_report(stored: bytes | None) -> DriftReport | None:
    """A stored report; one of another version counts as none."""
    try:
        return msgspec.json.decode(stored, type=DriftReport) if stored else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _is_fresh(report: DriftReport, now: float) -> bool:
    return 0 <= now - report.at < (RETRY_SECONDS if report.error else CHECK_SECONDS)


def _to_finding(one: UnresolvedName) -> DriftFinding:
    return DriftFinding(
        kind=one.kind,
        message=one.message,
        needed=one.needed,
        settings=[place.setting for place in one.places],
        sources=_unique(place.source for place in one.places),
        name=one.name,
        known=list(one.available[:20]),
    )


def _forbidden(kind: MetadataKind, error: Forbidden) -> str:
    return (
        f"the credentials may not read the account's {KIND_NAMES[kind]}s ({error.detail}): give the API"
        " user the permission"
    )


def _version(mappings: Mapping[str, LeadMapping]) -> str:
    return hashlib.sha256(msgspec.json.encode(list(mappings.values()))).hexdigest()[:16]


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
