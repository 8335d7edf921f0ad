"""The drift guard: checks that the account still has what the source file names.

It checks hourly and when the source file changes, before the first lead fails because of it:

    one worker process -> `drift` of the account -> console, metrics, alerts

`leadline check` makes the same check by itself. A check reads the metadata, which costs at most 51
API tokens an hour.
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
from worker.store.connection import call_redis, translate_errors

CHECK_SECONDS = 3600.0
LOCK_SECONDS = 60
TICK_SECONDS = 5.0

# How soon to check again after a check that could not be finished.
RETRY_SECONDS = 300.0

MAX_AVAILABLE_NAMES = 20

# The OAuth scopes that a delivery needs, each with the scopes that grant it: see `security` of each
# operation in Pipedrive's API reference.
GRANTED_BY = {
    "base": {"base"},
    "leads:full": {"leads:full"},
    "contacts:full": {"contacts:full"},
    "deals:read": {"deals:read", "deals:full", "admin", "deal-fields:full"},
}

log = structlog.get_logger("leadline.drift")


class DriftFinding(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing the account lacks.

    `needed`: submissions that need it die; otherwise leads are delivered without it. `settings` are
    the places in the source file; `available` are the names that the account has.
    """

    kind: str
    message: str
    needed: bool
    settings: list[str] = []
    sources: list[str] = []
    name: str | None = None
    available: list[str] = []


class DriftReport(Struct, frozen=True):
    """The findings of a check made `at` (Unix seconds); `error` says why it is incomplete."""

    at: float
    mappings_version: str
    findings: list[DriftFinding]
    error: str | None = None


class DriftGuard:
    """For one worker process; only one process checks at a time. `clock` is the ledger's."""

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
        self._next_at = 0.0

    def tick(self) -> None:
        """Checks if the last report is an hour old, of another source file, or may be out of date.

        It may be out of date if the metadata was read since, as a person's retry does: so what was
        fixed is soon no longer reported. While the gate is closed until a probe succeeds, there is
        no check: the probe alone asks Pipedrive. May raise `StoreUnavailable`.
        """
        now = self._clock()
        if now < self._next_at:
            return
        self._next_at = now + TICK_SECONDS
        if call_redis(lambda: self._redis.hget(self._account.gate, "mode")) == b"probe":
            return
        version = _version(self._mappings)
        report = last_report(self._redis)
        if (
            report is not None
            and report.mappings_version == version
            and _is_fresh(report, now)
            and not self._read_since(report)
        ):
            return
        if call_redis(
            lambda: self._redis.set(self._account.drift_lock, b"1", nx=True, ex=LOCK_SECONDS)
        ):
            self._store_report(self._check(version))

    def _check(self, version: str) -> DriftReport:
        findings: list[DriftFinding] = list(self._scopes())
        readable: set[MetadataKind] = set()
        error = None
        for kind in names_by_kind(self._mappings):
            try:
                self._metadata.refresh([kind], gap=CHECK_SECONDS / 2)
                readable.add(kind)
            except Forbidden as forbidden:
                findings.append(
                    DriftFinding(
                        kind="permission",
                        message=_forbidden(kind, forbidden),
                        needed=True,
                        name=kind.value,
                    )
                )
            except LeadlineError as failed:
                error = f"{KIND_NAMES[kind]}s: {failed.code}"
        try:
            findings += [
                _to_finding(each)
                for each in find_unresolved(self._mappings, self._metadata, readable)
            ]
        except LeadlineError as failed:
            error = failed.code
        return DriftReport(
            at=self._clock(), mappings_version=version, findings=findings, error=error
        )

    def _read_since(self, report: DriftReport) -> bool:
        """Whether the metadata was read since: what the account lacked may be there now."""
        return bool(report.findings) and any(
            table.at > report.at for table in self._metadata.snapshot().values()
        )

    def _scopes(self) -> Iterator[DriftFinding]:
        """The scopes that the app lacks; an API token has permissions and no scopes."""
        for scope in missing_scopes(granted_scopes(self._redis)):
            message = f"the app was not granted the scope {scope}: add it and connect the app again"
            yield DriftFinding(kind="scope", message=message, needed=True, name=scope)

    def _store_report(self, report: DriftReport) -> None:
        """Stores the report and logs new findings. The lock is left to expire by itself."""
        before = last_report(self._redis)
        reported = {each.message for each in before.findings} if before else set()
        call_redis(lambda: self._redis.set(self._account.drift, msgspec.json.encode(report)))
        for each in report.findings:
            if each.message not in reported:
                # Owners are people: their names and addresses stay out of the log.
                name = {} if each.kind == KIND_NAMES[MetadataKind.OWNERS] else {"name": each.name}
                log.warning(
                    "the account lacks what the source file names",
                    kind=each.kind,
                    settings=each.settings,
                    **name,
                )


def granted_scopes(connection: redis.Redis) -> str:
    """The scopes last named by the token endpoint, or an empty text. Raises `StoreUnavailable`."""
    with translate_errors():
        stored = connection.hget(keys.DEFAULT_ACCOUNT.oauth, "scopes")
    return stored.decode() if isinstance(stored, bytes) else ""


def missing_scopes(granted: str) -> list[str]:
    """The scopes that a delivery needs and the app lacks; none if `granted` is empty."""
    scopes = set(granted.replace(",", " ").split())
    return [scope for scope, granting in GRANTED_BY.items() if scopes and not scopes & granting]


def last_report(connection: redis.Redis) -> DriftReport | None:
    """The newest report; None before the first check. Raises `StoreUnavailable`."""
    with translate_errors():
        stored = connection.get(keys.DEFAULT_ACCOUNT.drift)
    return decode_report(stored if isinstance(stored, bytes) else None)


def decode_report(stored: bytes | None) -> DriftReport | None:
    """Decodes a stored report; None if there is none that this version can read."""
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
        available=list(one.available[:MAX_AVAILABLE_NAMES]),
    )


def _forbidden(kind: MetadataKind, error: Forbidden) -> str:
    mend = "give the API user the permission"
    if error.scope:
        mend = f"add the scope {error.scope} to the app and connect it again"
    return (
        f"the credentials may not read the account's {KIND_NAMES[kind]}s ({error.detail}): {mend}"
    )


def _version(mappings: Mapping[str, LeadMapping]) -> str:
    return hashlib.sha256(msgspec.json.encode(list(mappings.values()))).hexdigest()[:16]


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
