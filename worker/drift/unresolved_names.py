"""Finds the names in the source file that the account lacks.

A starting worker, the drift guard and `leadline check` use it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

import structlog
from msgspec import Struct, structs

from worker.errors import LeadlineError, UnknownName
from worker.lead.owner_turns import owner_shares
from worker.lead.settings import (
    ORGANIZATION_PREFIX,
    PERSON_PREFIX,
    LeadMapping,
    LeadSettings,
    Rule,
)
from worker.lead.templates import TemplateContext, TemplateError, compile_template
from worker.pipedrive.custom_fields import FieldInfo
from worker.pipedrive.metadata import KIND_NAMES, MetadataKind, NameResolver

log = structlog.get_logger("leadline.names")


class SettingPlace(Struct, frozen=True):
    """Where a name is used. `line` is where its source begins in the source file, if known."""

    source: str
    setting: str
    line: int | None = None


class UnresolvedName(Struct, frozen=True, kw_only=True):
    """One name, with every place where it is used.

    `needed`: submissions that need it die; otherwise leads are delivered without it. `available`
    are the names that the account has; `message` says it all in a sentence.
    """

    kind: str
    name: str
    places: tuple[SettingPlace, ...]
    available: tuple[str, ...] = ()
    needed: bool
    message: str


class _NameUse(Struct, frozen=True):
    """A name in one setting.

    `text` is the template of a custom field; a `creatable` label is created if it is missing, and a
    `skippable` owner loses their turns to others.
    """

    kind: MetadataKind
    name: str
    place: SettingPlace
    text: str = ""
    creatable: bool = False
    skippable: bool = False


def find_unresolved(
    mappings: Mapping[str, LeadMapping],
    names: NameResolver,
    kinds: Container[MetadataKind] = frozenset(MetadataKind),
) -> list[UnresolvedName]:
    """Each name of these kinds that does not resolve, once, in the order of the source file.

    May raise what `names` raises: `PipedriveError`, `OutOfAllowance`, `StoreUnavailable`.
    """
    unresolved: dict[tuple[str, str], UnresolvedName] = {}
    for use in (
        use for mapping in mappings.values() for use in _uses(mapping) if use.kind in kinds
    ):
        fault = _resolve(use, names)
        if fault is None:
            continue
        key = (fault.kind, fault.message)
        first = unresolved.setdefault(key, fault)
        if first is not fault:
            unresolved[key] = structs.replace(first, places=(*first.places, use.place))
    return list(unresolved.values())


def names_by_kind(mappings: Mapping[str, LeadMapping]) -> dict[MetadataKind, set[str]]:
    """The names that the source file uses, by kind."""
    kinds: dict[MetadataKind, set[str]] = {}
    for use in (use for mapping in mappings.values() for use in _uses(mapping)):
        kinds.setdefault(use.kind, set()).add(use.name)
    return kinds


def log_unresolved(mappings: Mapping[str, LeadMapping], names: NameResolver) -> None:
    """Logs the names that do not resolve; if they cannot be checked now, logs that.

    Never raises a `LeadlineError`.
    """
    try:
        unresolved = find_unresolved(mappings, names)
    except LeadlineError as error:
        log.warning("could not check the names", error=error.code)
        return
    for each in unresolved:
        settings = [place.setting for place in each.places]
        log.warning(
            "name does not resolve",
            kind=each.kind,
            needed=each.needed,
            settings=settings,
            **_loggable_name(each),
        )


def _loggable_name(one: UnresolvedName) -> dict[str, str]:
    """The name as a log field; none for owners, who are people and stay out of the log."""
    return {} if one.kind == KIND_NAMES[MetadataKind.OWNERS] else {"name": one.name}


def _uses(mapping: LeadMapping) -> Iterator[_NameUse]:
    table = f"sources.{mapping.source}"
    yield from _uses_in(mapping.lead, f"{table}.lead", mapping, mapping.lead.create_labels)
    for at, rule in enumerate(mapping.rules, start=1):
        create = mapping.lead.create_labels if rule.create_labels is None else rule.create_labels
        yield from _uses_in(rule, f"{table}.rules[{at}]", mapping, create)


def _uses_in(
    settings: LeadSettings | Rule, table: str, mapping: LeadMapping, create: bool
) -> Iterator[_NameUse]:
    def place(key: str) -> SettingPlace:
        return SettingPlace(mapping.source, f"{table}.{key}", mapping.line)

    for name in _without_blanks(settings.labels):
        yield _NameUse(MetadataKind.LABELS, name, place("labels"), creatable=create)
    for name in _without_blanks([settings.channel]):
        yield _NameUse(MetadataKind.CHANNELS, name, place("channel"))
    shares = owner_shares(settings.owner_id)
    for name in _without_blanks(share.owner for share in shares):
        yield _NameUse(MetadataKind.OWNERS, name, place("owner_id"), skippable=len(shares) > 1)
    for name in _without_blanks(settings.person_labels or []):
        yield _NameUse(MetadataKind.PERSON_LABELS, name, place("person_labels"))
    for field, text in (settings.custom or {}).items():
        if field.startswith(ORGANIZATION_PREFIX):
            continue
        kind = (
            MetadataKind.PERSON_FIELDS
            if field.startswith(PERSON_PREFIX)
            else MetadataKind.DEAL_FIELDS
        )
        yield _NameUse(
            kind, field.removeprefix(PERSON_PREFIX).strip(), place(f"custom.{field}"), text=text
        )


def _without_blanks(names: Iterable[int | str | None]) -> Iterator[str]:
    return (str(name).strip() for name in names if name is not None and str(name).strip())


def _resolve(use: _NameUse, names: NameResolver) -> UnresolvedName | None:
    """Checks one use; None if the name resolves and, for a field, takes what is written to it."""
    setting = use.place.setting
    try:
        if use.kind is MetadataKind.LABELS:
            names.label_id(use.name, setting=setting)
        elif use.kind is MetadataKind.CHANNELS:
            names.channel_id(use.name, setting=setting)
        elif use.kind is MetadataKind.OWNERS:
            names.owner_id(use.name, setting=setting)
        elif use.kind is MetadataKind.PERSON_LABELS:
            names.person_label_id(use.name, setting=setting)
        else:
            find = names.field if use.kind is MetadataKind.DEAL_FIELDS else names.person_field
            return _check_field(use, find(use.name, setting=setting))
    except UnknownName as error:
        message = str(error)
        if use.creatable:
            message += "; it is created with the first lead"
        if use.skippable:
            message += "; the other owners take the turns"
        return UnresolvedName(
            kind=error.kind,
            name=error.name,
            places=(use.place,),
            available=tuple(error.available),
            needed=not (use.creatable or use.skippable),
            message=message,
        )
    return None


def _check_field(use: _NameUse, info: FieldInfo) -> UnresolvedName | None:
    """Checks that a field takes what the source file writes; if not, each lead leaves it out."""
    problem = None
    if info.encoder is None:
        problem = f"fields of the type {info.type!r} cannot be written from text"
    elif (text := _constant_text(use.text)) and (problem := _encoding_fault(info, text)):
        problem = f"it does not take {text!r}: {problem}"
    if problem is None:
        return None
    message = f"the {KIND_NAMES[use.kind]} {use.name!r} is left out of each lead: {problem}"
    return UnresolvedName(
        kind=KIND_NAMES[use.kind],
        name=use.name,
        places=(use.place,),
        available=tuple(option.label for option in info.options),
        needed=False,
        message=message,
    )


def _encoding_fault(info: FieldInfo, text: str) -> str | None:
    try:
        info.encode(text)
    except ValueError as error:
        return str(error)
    return None


def _constant_text(template: str) -> str | None:
    """The text of a template that reads no field of the lead; None for all others."""
    try:
        compiled = compile_template(template)
    except TemplateError:
        return None
    return None if compiled.names else compiled.render(TemplateContext({}, {}, {})) or None
