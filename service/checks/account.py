"""The Pipedrive account: whether it accepts us and has every name that the source file uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from service.checks.finding import Finding, fail, ok, warn
from worker.drift.drift import missing_scopes
from worker.drift.unresolved_names import (
    SettingPlace,
    UnresolvedName,
    find_unresolved,
    names_by_kind,
)
from worker.errors import LeadlineError, WrongAddress, WrongTokenAddress
from worker.lead.settings import LeadMapping
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata import (
    KIND_NAMES,
    MetadataEntry,
    MetadataKind,
    MetadataLookup,
    MetadataTable,
    find_entry,
    match_name,
)
from worker.pipedrive.models import PipedriveUser
from worker.units import parse_time_zone

PIPEDRIVE = "pipedrive"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_account(client: Pipedrive, base_url: str) -> list[Finding]:
    """Whether the credentials work. Costs 2 API tokens."""
    findings = []
    url = urlsplit(base_url)
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        findings.append(
            warn(
                PIPEDRIVE,
                f"credentials and leads travel unencrypted to {base_url}: use https",
                "PIPEDRIVE_BASE_URL",
            )
        )
    try:
        me = client.users.me()
    except WrongTokenAddress as error:
        return [*findings, finding_from_error(error)]
    except WrongAddress as error:
        message = f"{base_url} is not Pipedrive's API: {error}; {error.advice}"
        return [*findings, fail(PIPEDRIVE, message, error.variable)]
    except LeadlineError as error:
        return [*findings, finding_from_error(error)]
    company = f" of {me.company_name}" if me.company_name else ""
    return [
        *findings,
        _time_zone(me),
        ok(PIPEDRIVE, f"signed in at {base_url} as {me.name or me.id}{company}"),
    ]


def _time_zone(me: PipedriveUser) -> Finding:
    zone = parse_time_zone(me.timezone_name or "", me.timezone_offset or "")
    if zone is None:
        return warn(PIPEDRIVE, "Pipedrive names no time zone of the account: dates are in UTC")
    return ok(PIPEDRIVE, f"time zone of the account: {me.timezone_name or zone}")


def check_scopes(granted: str) -> list[Finding]:
    """A failure for each scope that deliveries need and `granted`, as Pipedrive lists it, lacks."""
    message = "the app was not granted the scope {}: add it and connect the app again"
    return [
        fail(PIPEDRIVE, message.format(scope), "PIPEDRIVE_REFRESH_TOKEN")
        for scope in missing_scopes(granted)
    ]


def check_names(mappings: Mapping[str, LeadMapping], directory: MetadataLookup) -> list[Finding]:
    """A finding for each name that does not resolve, and for each kind whose names all do."""
    findings: list[Finding] = []
    readable: set[MetadataKind] = set()
    for kind in names_by_kind(mappings):
        try:
            table = directory.table(kind)
        except LeadlineError as error:
            findings.append(finding_from_error(error))
            continue
        readable.add(kind)
        if table.partial:
            message = (
                "these credentials cannot list the users (scope users:read):"
                " owner ids are not checked"
            )
            findings.append(warn(PIPEDRIVE, message))
    missing = find_unresolved(mappings, directory, readable)
    findings += [_name_missing(one) for one in missing]
    incomplete = {one.kind for one in missing}
    complete = [
        kind
        for kind in names_by_kind(mappings)
        if kind in readable and KIND_NAMES[kind] not in incomplete
    ]
    return findings + [_names_found(kind, names_by_kind(mappings)[kind]) for kind in complete]


def check_stored_ids(
    mappings: Mapping[str, LeadMapping],
    directory: MetadataLookup,
    stored: Mapping[MetadataKind, MetadataTable],
) -> list[Finding]:
    """A warning for each name that has another id now than when the workers last read it."""
    findings = []
    for kind, names in names_by_kind(mappings).items():
        for name in sorted(names) if kind in stored and directory.has_read(kind) else ():
            before = find_entry(stored[kind].items, match_name(name))
            now = find_entry(directory.table(kind).items, match_name(name))
            if before is not None and now is not None and _ids(before) != _ids(now):
                message = (
                    f"the {KIND_NAMES[kind]} {name!r} was deleted and made again in Pipedrive:"
                    " the workers use its new id from now on"
                )
                findings.append(warn(PIPEDRIVE, message))
    return findings


def _ids(entry: MetadataEntry) -> tuple[int | str, dict[str, int | str]]:
    """The ids of an entry and of its options by label."""
    return entry.id, {option.label: option.id for option in entry.options}


def _name_missing(name: UnresolvedName) -> Finding:
    level = fail if name.needed else warn
    return level(
        PIPEDRIVE, f"{name.message}: {describe_places(name.places)}", name.places[0].setting
    )


def describe_places(places: Iterable[SettingPlace]) -> str:
    """Join places such as `sources.contact.lead.labels (source contact, line 12)`."""
    return "; ".join(
        f"{each.setting} (source {each.source}{f', line {each.line}' if each.line else ''})"
        for each in places
    )


def _names_found(kind: MetadataKind, names: set[str]) -> Finding:
    listed = ", ".join(sorted(names)[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ok(PIPEDRIVE, f"{KIND_NAMES[kind]}: {listed}{more}")


def finding_from_error(error: LeadlineError) -> Finding:
    """A transient error is a warning: it says nothing about the account."""
    level = warn if error.transient else fail
    return level(PIPEDRIVE, f"{error}; {error.advice}", error.variable)
