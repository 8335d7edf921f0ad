"""Checks what types cannot: paths, targets, templates, origins and incomplete schemes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from service.sources import schema
from service.sources.adapters.base import Adapter
from service.sources.fields.countries import is_country
from service.sources.fields.patterns import PatternError, compile_pattern
from service.sources.fields.values import VALUE_PARSERS
from service.sources.handshake import DIGESTS, PLACEHOLDER, needs_secret
from service.sources.languages.words import to_phrase
from service.sources.schema import (
    HandshakeSettings,
    MapRule,
    ReadSettings,
    Source,
    VerifySettings,
)
from service.sources.source_file.toml_reader import FaultCollector, Path, did_you_mean
from service.sources.verification.hmac import PLACEHOLDERS
from worker.lead.settings import (
    ORGANIZATION_FIELDS,
    ORGANIZATION_PREFIX,
    PERSON_PREFIX,
    OwnerSetting,
    Rule,
)
from worker.lead.templates import (
    CLICK_IDS,
    OPEN_PREFIXES,
    UTM_PARTS,
    TemplateError,
    check_name,
    compile_template,
)
from worker.settings.public_url import EXPECTED_PUBLIC_URL, find_url_fault

MAX_BODY_BYTES = 16_777_216
MAX_PATH_STEPS = 31
MAX_OWNERS, MAX_WEIGHT = 50, 100
# What `map` and `read.labels` may name, besides `answers.NAME` and `click_ids.NAME`.
TARGETS = frozenset(
    {
        *VALUE_PARSERS,
        *(f"utm_{part}" for part in UTM_PARTS),
        *(f"utm.{part}" for part in UTM_PARTS),
        *CLICK_IDS,
    }
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LIST_PREFIXES = re.compile(r"[^,\s]+=,[^,\s]+=")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")
_BRACES = re.compile(r"\{([^{}]*)\}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_source(
    source: Source, adapter: Adapter, path: Path, faults: FaultCollector, *, allow_private: bool
) -> None:
    """Checks everything in a source but its `lead` and `rules`.

    `allow_private`: URLs that the worker calls may be private addresses and plain http.
    """
    for key in ("origins", "redirect_origins"):
        for at, origin in enumerate(getattr(source, key)):
            if not _is_origin(origin):
                expected = (
                    'an origin in lower case such as "https://www.acme.example", with no path'
                )
                faults.add((*path, key, at), expected, origin)
    if source.redirect is not None and not _is_url(source.redirect):
        faults.add((*path, "redirect"), "an http or https URL", source.redirect)
    if source.reply is not None and not 200 <= source.reply <= 299:
        faults.add((*path, "reply"), "a status from 200 to 299", source.reply)
    if not 1 <= source.max_body <= MAX_BODY_BYTES:
        faults.add((*path, "max_body"), "a size from 1 byte to 16MiB", source.max_body)
    for written_path, line in source.map.items():
        _check_map_line(written_path, line, (*path, "map", written_path), faults)
    for key in ("ignore", "dedupe_ignore", "dedupe_on"):
        for at, name in enumerate(getattr(source, key)):
            if not name.strip():
                faults.add((*path, key, at), "the path or the name of a field", name)
    if source.default_country and not is_country(source.default_country):
        faults.add((*path, "default_country"), schema.EXPECTED_COUNTRY, source.default_country)
    if source.handshake:
        _check_handshake(source.handshake, source.verification, (*path, "handshake"), faults)
    _check_read(source.read, (*path, "read"), faults)
    _check_verify(source.verification, adapter, (*path, "verify"), faults)
    if source.fetch and (url := source.fetch.base_url):
        if not _is_url(url):
            faults.add((*path, "fetch", "base_url"), "an http or https URL", url)
        elif not allow_private and find_url_fault(url):
            faults.add((*path, "fetch", "base_url"), EXPECTED_PUBLIC_URL, url)


def check_path(written_path: str, path: Path, faults: FaultCollector) -> None:
    """Refuses a path that can never lead anywhere: empty, with an empty step, or too many."""
    steps = written_path.split(".")
    if not written_path.strip() or not all(steps):
        faults.add(path, 'a path such as "lead.contact.email"', written_path)
    elif len(steps) > MAX_PATH_STEPS:
        faults.add(path, f"a path of at most {MAX_PATH_STEPS} steps", written_path)


def _check_map_line(
    written_path: str, line: str | MapRule, path: Path, faults: FaultCollector
) -> None:
    """Checks a line of `map`. Its key may be any text: people ask questions with dots in them."""
    if not written_path.strip():
        faults.add(path, 'a path such as "lead.contact.email", or a label', written_path)
    if isinstance(line, str):
        _check_target(line, path, faults)
        return
    _check_target(line.to, (*path, "to"), faults)
    for key in ("match", "split", "strip"):
        if getattr(line, key) == "":
            faults.add((*path, key), "some text", "")
    if line.match:
        try:
            compile_pattern(line.match)
        except PatternError as error:
            faults.add((*path, "match"), str(error), line.match)
    if line.take == 0:
        faults.add((*path, "take"), "a number that counts from 1, or from the end with -1", 0)


def _check_handshake(
    rules: HandshakeSettings, verify: VerifySettings, path: Path, faults: FaultCollector
) -> None:
    if not (rules.when or rules.echo or rules.query or rules.header or rules.ping):
        faults.add(path, "one of when, echo, query, header and ping", "none", verbatim=True)
    if rules.when:
        check_path(rules.when.at, (*path, "when", "at"), faults)
    if rules.echo is not None:
        check_path(rules.echo, (*path, "echo"), faults)
    if rules.answer and not rules.when:
        faults.add(path, "the key when: else any post would get the answer", "none", verbatim=True)
    if rules.answer and rules.echo:
        faults.add((*path, "echo"), "either echo or answer", rules.echo)
    if rules.header is not None and not _HEADER_NAME.fullmatch(rules.header):
        faults.add((*path, "header"), "the name of a header", rules.header)
    for name, text in rules.answer.items():
        here = (*path, "answer", name)
        for digest, written_path in PLACEHOLDER.findall(text):
            check_path(written_path, here, faults)
            if digest and digest not in DIGESTS:
                faults.add(here, did_you_mean(digest, DIGESTS, "a digest"), text)
        if "{" in PLACEHOLDER.sub("", text) or "}" in PLACEHOLDER.sub("", text):
            faults.add(here, 'a path in braces, such as "{payload.plainToken}"', text)
    if needs_secret(rules) and not (verify.secret_env or verify.challenge_env):
        expected = "secret_env or challenge_env in `verify`, for the digest of the answer"
        faults.add((*path, "answer"), expected, "none", verbatim=True)


def _check_target(target: str, path: Path, faults: FaultCollector) -> None:
    is_open = any(
        target.startswith(prefix) and target[len(prefix) :].strip() for prefix in OPEN_PREFIXES
    )
    if target not in TARGETS and not is_open:
        names = TARGETS - set(CLICK_IDS)
        faults.add(path, did_you_mean(target, names, "a canonical field or answers.NAME"), target)


def _check_read(read: ReadSettings, path: Path, faults: FaultCollector) -> None:
    for key in ("root", "event_id"):
        if (written_path := getattr(read, key)) is not None:
            check_path(written_path, (*path, key), faults)
    for at, written_path in enumerate(read.json_param):
        check_path(written_path, (*path, "json_param", at), faults)
    for key in ("test", "only"):
        if condition := getattr(read, key):
            check_path(condition.at, (*path, key, "at"), faults)
    for number, pairs in enumerate(read.pair_lists):
        here = (*path, "pairs", number) if isinstance(read.pairs, list) else (*path, "pairs")
        for key in ("at", "key", "value"):
            check_path(getattr(pairs, key), (*here, key), faults)
    for field, labels in read.labels.items():
        here = (*path, "labels", field)
        if field not in TARGETS:
            expected = did_you_mean(field, TARGETS - set(CLICK_IDS))
            faults.add(here, expected, "an unknown field", verbatim=True)
        for at, label in enumerate(labels):
            if not to_phrase(label):
                faults.add((*here, at), "a label with letters or digits", label)


def _check_verify(
    rules: VerifySettings, adapter: Adapter, path: Path, faults: FaultCollector
) -> None:
    """Checks that a scheme has the keys it needs."""
    for key, names in (
        ("secret_env", rules.secret_env),
        ("challenge_env", [rules.challenge_env] if rules.challenge_env else []),
    ):
        for name in names:
            if not _ENV_NAME.fullmatch(name):
                faults.add((*path, key), "the name of an environment variable", name)
    places = [place for place in (rules.header, rules.query, rules.field) if place]
    if rules.scheme == "none":
        if rules.secret_env or places:
            expected = "one of token, hmac, standard-webhooks, jwt"
            faults.add((*path, "scheme"), expected, '"none" with a secret', verbatim=True)
        return
    if not rules.secret_env and (rules.scheme or adapter.scheme):
        expected = "the names of environment variables that hold the secret"
        faults.add((*path, "secret_env"), expected, "none", verbatim=True)
    if rules.scheme == "token" and len(places) != 1:
        faults.add(path, "one of header, query and field", f"{len(places)} of them", verbatim=True)
    if rules.scheme == "hmac":
        _check_hmac(rules, path, faults)


def _check_hmac(rules: VerifySettings, path: Path, faults: FaultCollector) -> None:
    if not rules.header:
        faults.add((*path, "header"), "the header that holds the signature", "none", verbatim=True)
    if rules.list_prefixes is not None and not _LIST_PREFIXES.fullmatch(rules.list_prefixes):
        expected = 'the prefixes of timestamp and signature, such as "t=,v1="'
        faults.add((*path, "list"), expected, rules.list_prefixes)
    names = set(_BRACES.findall(rules.signed))
    for name in sorted(names - PLACEHOLDERS):
        expected = "no placeholders but {body}, {timestamp}, {id}, {method} and {url}"
        faults.add((*path, "signed"), expected, f"{{{name}}}", verbatim=True)
    if "body" not in names:
        faults.add((*path, "signed"), "{body} in it: else any body would pass", rules.signed)
    if "timestamp" in names and not (rules.timestamp_header or rules.list_prefixes):
        expected = "the header that holds the {timestamp} of `signed`"
        faults.add((*path, "timestamp_header"), expected, "none", verbatim=True)
    if "id" in names and not rules.id_header:
        expected = "the header that holds the {id} of `signed`"
        faults.add((*path, "id_header"), expected, "none", verbatim=True)


def check_lead(values: dict[str, Any], path: Path, faults: FaultCollector) -> None:
    """Checks the values that are set in a `lead` table, in `[pipedrive]` or in a rule."""
    for key in ("title", "channel_id", "origin_id"):
        if (text := values.get(key)) is not None:
            names = _check_template(text, (*path, key), faults)
            if key == "origin_id" and names is not None and "submission_id" not in names:
                expected = "{submission_id} in it: each lead needs an origin of its own"
                faults.add((*path, key), expected, text)
    if (title := values.get("title")) and not title.strip():
        faults.add((*path, "title"), "a title", title)
    if money := values.get("value"):
        _check_template(money.amount, (*path, "value", "amount"), faults)
        _check_template(money.currency, (*path, "value", "currency"), faults)
    for name, text in (values.get("custom") or {}).items():
        _check_template(text, (*path, "custom", name), faults)
        if not name.removeprefix(PERSON_PREFIX).strip():
            faults.add((*path, "custom", name), "the name or key of a custom field", name)
        field = name.removeprefix(ORGANIZATION_PREFIX).strip().casefold()
        if name.startswith(ORGANIZATION_PREFIX) and field not in ORGANIZATION_FIELDS:
            expected = did_you_mean(field, ORGANIZATION_FIELDS, "a field of the organisation")
            faults.add((*path, "custom", name), expected, field)
    for key in ("labels", "person_labels"):
        for at, name in enumerate(values.get(key) or []):
            if not name.strip():
                faults.add((*path, key, at), "the name of a label", name)
    _check_owners(values.get("owner_id"), (*path, "owner_id"), faults)
    _check_match(values.get("match"), (*path, "match"), faults)
    _check_times(values, path, faults)


def _check_owners(owners: OwnerSetting | None, path: Path, faults: FaultCollector) -> None:
    """Checks owners who take turns: some, not too many, each with a weight."""
    if not isinstance(owners, list | dict):
        return
    if not 1 <= len(owners) <= MAX_OWNERS:
        faults.add(path, f"1 to {MAX_OWNERS} owners", owners)
    for at, owner in enumerate(owners):
        if isinstance(owner, str) and not owner.strip():
            key = owner if isinstance(owners, dict) else at
            faults.add((*path, key), "the id, e-mail or name of a user", owner)
    for owner, weight in owners.items() if isinstance(owners, dict) else ():
        if not 1 <= weight <= MAX_WEIGHT:
            faults.add((*path, owner), f"a weight from 1 to {MAX_WEIGHT}", weight)


def _check_match(match: list[str] | None, path: Path, faults: FaultCollector) -> None:
    if match is not None and (not match or len(set(match)) < len(match)):
        faults.add(path, '"email", "phone" or both, each once', match)


def _check_times(values: dict[str, Any], path: Path, faults: FaultCollector) -> None:
    if (window := values.get("existing_window")) is not None and not _is_duration(window):
        faults.add((*path, "existing_window"), schema.EXPECTED_DURATION, window)
    close = values.get("expected_close")
    if close is None or _is_duration(close) or _DATE.fullmatch(close):
        return
    if "{" in close:
        _check_template(close, (*path, "expected_close"), faults)
    else:
        expected = 'a duration such as "30d", a date such as "2030-01-31", or a template'
        faults.add((*path, "expected_close"), expected, close)


def check_rules(rules: list[Rule], path: Path, faults: FaultCollector) -> None:
    """Checks each rule's conditions, and what it sets."""
    for at, rule in enumerate(rules):
        here = (*path, at)
        if not rule.when:
            expected = 'at least one condition, such as { utm_source = "google" }'
            faults.add((*here, "when"), expected, rule.when)
        for name in rule.when:
            try:
                check_name(name)
            except TemplateError as error:
                faults.add((*here, "when", name), "a field of the lead", str(error), verbatim=True)
        values = {name: getattr(rule, name) for name in rule.__struct_fields__ if name != "when"}
        check_lead(values, here, faults)


def _check_template(text: str, path: Path, faults: FaultCollector) -> frozenset[str] | None:
    """The fields that a template reads; None, with a fault noted, if it cannot be used."""
    try:
        return compile_template(text).names
    except TemplateError as error:
        faults.add(path, "a template over the lead's fields", str(error), verbatim=True)
        return None


def _is_origin(text: str) -> bool:
    """Scheme, host and port, as browsers write them in the Origin header."""
    parts = _split_url(text)
    return parts is not None and text == f"{parts.scheme}://{parts.netloc}" and text == text.lower()


def _is_url(text: str) -> bool:
    return _split_url(text) is not None and not re.search(r"[\s\x00-\x1f\\]", text)


def _split_url(text: str) -> SplitResult | None:
    """The parts of an http or https URL without credentials; None for anything else."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError if it is not a port
    except ValueError:
        return None
    is_valid = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return parts if is_valid else None


def _is_duration(text: str) -> bool:
    try:
        schema.read_duration(text)
    except ValueError:
        return False
    return True
