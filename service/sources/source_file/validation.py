"""What is right in type and yet wrong: targets, paths, templates, origins, schemes that lack a
part.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from service.sources import schema
from service.sources.adapters.base import Adapter
from service.sources.fields.matching import to_any_script_phrase
from service.sources.fields.values import VALUE_PARSERS
from service.sources.schema import ReadSettings, Source, VerifySettings
from service.sources.source_file.toml_reader import FaultCollector, Path, did_you_mean
from service.sources.verification.hmac import PLACEHOLDERS
from worker.lead.settings import Rule
from worker.lead.templates import (
    CLICK_IDS,
    OPEN_PREFIXES,
    UTM_PARTS,
    TemplateError,
    check_name,
    compile_template,
)

MAX_BODY_BYTES = 16_777_216
TARGETS = frozenset(
    {
        *VALUE_PARSERS,
        *(f"utm_{part}" for part in UTM_PARTS),
        *(f"utm.{part}" for part in UTM_PARTS),
        *CLICK_IDS,
    }
)
"""What `map` and `read.labels` may name, besides `answers.NAME` and `click_ids.NAME`."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LISTED = re.compile(r"[^,\s]+=,[^,\s]+=")
_BRACES = re.compile(r"\{([^{}]*)\}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_source(source: Source, adapter: Adapter, path: Path, faults: FaultCollector) -> None:
    """Everything of a source but its `lead` and `rules`."""
    for key in ("origins", "redirect_origins"):
        for at, origin in enumerate(getattr(source, key)):
            if not is_origin(origin):
                faults.add(
                    (*path, key, at),
                    'an origin such as "https://www.acme.example", without a path',
                    origin,
                )
    if source.redirect is not None and not is_url(source.redirect):
        faults.add((*path, "redirect"), "an http or https URL", source.redirect)
    if source.reply is not None and not 200 <= source.reply <= 299:
        faults.add((*path, "reply"), "a status from 200 to 299", source.reply)
    if not 1 <= source.max_body <= MAX_BODY_BYTES:
        faults.add((*path, "max_body"), "a size from 1 byte to 16MiB", source.max_body)
    for written, target in source.map.items():
        check_path(written, (*path, "map", written), faults)
        check_target(target, (*path, "map", written), faults)
    _check_read(source.read, (*path, "read"), faults)
    _check_verify(source.verification, adapter, (*path, "verify"), faults)
    if source.fetch and source.fetch.base_url and not is_url(source.fetch.base_url):
        faults.add((*path, "fetch", "base_url"), "an http or https URL", source.fetch.base_url)


def check_path(written: str, path: Path, faults: FaultCollector) -> None:
    """A path that could never lead anywhere: empty, or with an empty step."""
    if (
        not written.strip()
        or any(not step for step in written.split("."))
        or written.count(".") > 30
    ):
        faults.add(path, 'a path such as "lead.contact.email"', written)


def check_target(target: str, path: Path, faults: FaultCollector) -> None:
    if target in TARGETS or any(
        target.startswith(prefix) and target[len(prefix) :].strip() for prefix in OPEN_PREFIXES
    ):
        return
    hint = did_you_mean(target, TARGETS - set(CLICK_IDS), "a canonical field or answers.NAME")
    faults.add(path, hint, target)


def _check_read(read: ReadSettings, path: Path, faults: FaultCollector) -> None:
    for key in ("root", "event_id"):
        if (written := getattr(read, key)) is not None:
            check_path(written, (*path, key), faults)
    for at, written in enumerate(read.json_param):
        check_path(written, (*path, "json_param", at), faults)
    for key in ("test", "only"):
        if table := getattr(read, key):
            check_path(table.at, (*path, key, "at"), faults)
    for number, pairs in enumerate(read.pair_lists):
        here = (*path, "pairs", number) if isinstance(read.pairs, list) else (*path, "pairs")
        for key in ("at", "key", "value"):
            check_path(getattr(pairs, key), (*here, key), faults)
    for field, names in read.labels.items():
        if field not in TARGETS:
            faults.add(
                (*path, "labels", field),
                did_you_mean(field, TARGETS - set(CLICK_IDS)),
                "an unknown field",
                verbatim=True,
            )
        for at, name in enumerate(names):
            if not to_any_script_phrase(name):
                faults.add((*path, "labels", field, at), "a label with letters or digits", name)


def _check_verify(
    rules: VerifySettings, adapter: Adapter, path: Path, faults: FaultCollector
) -> None:
    """Each scheme with the keys it cannot do without."""
    for key in ("secret_env", "challenge_env"):
        names = getattr(rules, key) or []
        for name in [names] if isinstance(names, str) else names:
            if not _ENV.fullmatch(name):
                faults.add((*path, key), "the name of an environment variable", name)
    if rules.scheme == "none":
        if rules.secret_env or rules.header or rules.query or rules.field:
            faults.add(
                (*path, "scheme"),
                "one of token, hmac, standard-webhooks, jwt",
                "none beside a secret",
                verbatim=True,
            )
        return
    if not rules.secret_env and (rules.scheme or adapter.scheme):
        faults.add(
            (*path, "secret_env"),
            "the names of environment variables that hold the secret",
            "none",
            verbatim=True,
        )
    places = [place for place in (rules.header, rules.query, rules.field) if place]
    if rules.scheme == "token" and len(places) != 1:
        faults.add(path, "one of header, query and field", f"{len(places)} of them", verbatim=True)
    if rules.scheme == "hmac":
        _check_hmac(rules, path, faults)


def _check_hmac(rules: VerifySettings, path: Path, faults: FaultCollector) -> None:
    if not rules.header:
        faults.add((*path, "header"), "the header that holds the signature", "none", verbatim=True)
    if rules.list_prefixes is not None and not _LISTED.fullmatch(rules.list_prefixes):
        faults.add(
            (*path, "list"),
            'the prefixes of timestamp and signature, such as "t=,v1="',
            rules.list_prefixes,
        )
    names = set(_BRACES.findall(rules.signed))
    for name in sorted(names - PLACEHOLDERS):
        faults.add(
            (*path, "signed"),
            "{body}, {timestamp}, {id}, {method} and {url} alone",
            f"{{{name}}}",
            verbatim=True,
        )
    if "body" not in names:
        faults.add((*path, "signed"), "{body} in it: else any body would do", rules.signed)
    if "timestamp" in names and not (rules.timestamp_header or rules.list_prefixes):
        faults.add(
            (*path, "timestamp_header"),
            "the header that holds the {timestamp} of `signed`",
            "none",
            verbatim=True,
        )
    if "id" in names and not rules.id_header:
        faults.add(
            (*path, "id_header"),
            "the header that holds the {id} of `signed`",
            "none",
            verbatim=True,
        )


def check_lead(values: dict[str, Any], path: Path, faults: FaultCollector) -> None:
    """The values of a `lead` table, of `[pipedrive]` or of a rule, as far as they are there."""
    for key in ("title", "channel_id", "origin_id"):
        if (text := values.get(key)) is not None:
            names = check_template(text, (*path, key), faults)
            if key == "origin_id" and names is not None and "submission_id" not in names:
                faults.add(
                    (*path, key),
                    "{submission_id} in it: each lead needs an origin of its own",
                    text,
                )
    if not (values.get("title") or "x").strip():
        faults.add((*path, "title"), "a title", values["title"])
    if money := values.get("value"):
        check_template(money.amount, (*path, "value", "amount"), faults)
        check_template(money.currency, (*path, "value", "currency"), faults)
    for name, text in (values.get("custom") or {}).items():
        check_template(text, (*path, "custom", name), faults)
        if not name.removeprefix("person.").strip():
            faults.add((*path, "custom", name), "the name or key of a custom field", name)
    for at, name in enumerate(values.get("labels") or []):
        if not name.strip():
            faults.add((*path, "labels", at), "the name of a label", name)
    _check_times(values, path, faults)


def _check_times(values: dict[str, Any], path: Path, faults: FaultCollector) -> None:
    if (window := values.get("existing_window")) is not None and not _is_duration(window):
        faults.add((*path, "existing_window"), schema.EXPECTED_DURATION, window)
    close = values.get("expected_close")
    if close is None or _is_duration(close) or _DATE.fullmatch(close):
        return
    if "{" not in close:
        faults.add(
            (*path, "expected_close"),
            'a duration such as "30d", a date such as "2030-01-31", or a template',
            close,
        )
    else:
        check_template(close, (*path, "expected_close"), faults)


def check_rules(rules: list[Rule], path: Path, faults: FaultCollector) -> None:
    """Each rule's conditions, and what it sets."""
    for at, rule in enumerate(rules):
        here = (*path, at)
        if not rule.when:
            faults.add(
                (*here, "when"),
                'at least one condition, such as { utm_source = "google" }',
                rule.when,
            )
        for name in rule.when:
            try:
                check_name(name)
            except TemplateError as error:
                faults.add((*here, "when", name), "a field of the lead", str(error), verbatim=True)
        check_lead(
            {name: getattr(rule, name) for name in rule.__struct_fields__ if name != "when"},
            here,
            faults,
        )


def check_template(text: str, path: Path, faults: FaultCollector) -> frozenset[str] | None:
    """The fields a template reads; None with a fault noted if it cannot be used."""
    try:
        return compile_template(text).names
    except TemplateError as error:
        faults.add(path, "a template over the lead's fields", str(error), verbatim=True)
        return None


def is_origin(text: str) -> bool:
    """Scheme, host and port, as a browser's Origin header has them."""
    parts = _split(text)
    return parts is not None and text == f"{parts[0]}://{parts[1]}" and text == text.lower()


def is_url(text: str) -> bool:
    return _split(text) is not None and not re.search(r"[\s\x00-\x1f\\]", text)


def _split(text: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return (parts.scheme, parts.netloc) if good else None


def _is_duration(text: str) -> bool:
    try:
        schema.read_duration(text)
    except ValueError:
        return False
    return True
