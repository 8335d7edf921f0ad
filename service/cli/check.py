"""`leadline check`: what is wrong before the first submission, one line for each finding."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import click

from service.checks.account import (
    PIPEDRIVE,
    check_account,
    check_names,
    check_scopes,
    check_stored_ids,
)
from service.checks.environment import REDIS, check_settings, check_store
from service.checks.finding import Finding, Level, fail, ok, warn
from service.checks.sample_lead import SampleLead
from service.checks.source_file import check_source_file
from service.cli import output, setup
from service.cli.output import printable
from service.cli.pipedrive_client import build_client, build_lookup, find_answering_redis
from service.local.redis import EmbeddedRedisError, find_binary, find_redis_url
from service.settings import describe_settings, packaged_example, source_file
from service.sources.schema import SourceFile
from service.sources.source_file.loader import build_lead_mappings
from worker.accept.promise import Terms
from worker.drift.drift import granted_scopes
from worker.encryption import Cipher
from worker.ledger import Ledger
from worker.pipedrive.client import CallReport
from worker.pipedrive.metadata import MetadataKind, MetadataLookup, MetadataTable
from worker.pipedrive.metadata_cache import MetadataCache
from worker.settings.table import Settings
from worker.store.connection import connect

COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
REDIS_TIMEOUT_SECONDS = 3.0


@click.command()
@click.option(
    "--offline",
    is_flag=True,
    help="Check settings and source file only, not Redis and Pipedrive.",
)
@click.option(
    "--send-test",
    is_flag=True,
    help="Also create, label, read and delete one lead of a test person in Pipedrive.",
)
@click.option(
    "--settings",
    "only_settings",
    is_flag=True,
    help="List every setting with its current value; check nothing.",
)
@output.json_option
def check(offline: bool, send_test: bool, only_settings: bool, as_json: bool) -> None:
    """Check settings, source file, Redis and Pipedrive.

    Looks up the names of the source file (owners, labels, channels, custom fields) in the account.
    Exit code 1 if anything fails.
    """
    if send_test and offline:
        raise click.UsageError("--send-test needs the network: leave out --offline")
    if only_settings:
        _print_settings(as_json)
        return
    with output.show_working("checking"):
        findings = list(run_checks(os.environ, offline=offline, send_test=send_test))
    if as_json:
        output.print_json({"findings": findings})
    else:
        _print_findings(findings)
    sys.exit(any(finding.level is Level.FAIL for finding in findings))


def run_checks(
    env: Mapping[str, str], *, offline: bool, send_test: bool = False
) -> Iterator[Finding]:
    """All findings, in the order in which they are best fixed."""
    settings, findings = check_settings(env)
    yield from findings
    path = source_file(
        settings
        or Settings(config=Path(env["LEADLINE_CONFIG"]) if env.get("LEADLINE_CONFIG") else None)
    )
    file, findings = check_source_file(
        path,
        env,
        is_example=path == packaged_example(),
        public_url=settings.public_url if settings else None,
        has_worker=bool(settings and settings.has_credentials),
    )
    yield from findings
    if settings is not None and not offline:
        yield from _check_redis(settings)
        yield from _check_pipedrive(settings, file, send_test=send_test)


def _check_redis(settings: Settings) -> list[Finding]:
    url = find_redis_url(settings)
    if url is None:
        return [_check_embedded()]
    try:
        with connect(
            url, timeout=REDIS_TIMEOUT_SECONDS, connect_timeout=REDIS_TIMEOUT_SECONDS
        ) as client:
            return check_store(client, url, Terms.from_settings(settings, accepts=True))
    except ValueError as error:
        return [fail(REDIS, f"the address cannot be used: {error}", "REDIS_URL")]


def _check_embedded() -> Finding:
    try:
        binary = find_binary()
    except EmbeddedRedisError as error:
        return fail(REDIS, str(error), "REDIS_URL")
    return ok(
        REDIS,
        f"embedded, not running now: the first command that needs it starts {binary.name}",
    )


def _check_pipedrive(
    settings: Settings, file: SourceFile | None, *, send_test: bool
) -> Iterator[Finding]:
    if not settings.has_credentials:
        yield warn(
            PIPEDRIVE,
            "no credentials: not checked, and nothing can be delivered",
            "PIPEDRIVE_API_TOKEN",
        )
        return
    store = find_answering_redis(settings)
    if store is None and settings.uses_oauth:
        yield warn(
            PIPEDRIVE,
            "not checked: OAuth tokens are shared in Redis, which does not respond",
            "REDIS_URL",
        )
        return
    reports: list[CallReport] = []
    with ExitStack() as stack:
        client = stack.enter_context(build_client(settings, store, reports.append))
        shared = (
            stack.enter_context(connect(store, timeout=REDIS_TIMEOUT_SECONDS))
            if store is not None
            else None
        )
        account = check_account(client, settings.pipedrive_base_url)
        yield from account
        if shared is not None and settings.uses_oauth:
            yield from check_scopes(granted_scopes(shared))
        if account[-1].level is not Level.OK:
            return
        stored: Mapping[MetadataKind, MetadataTable] = {}
        lookup = build_lookup(client)
        if shared is not None:  # the workers get what is read here
            metadata = MetadataCache(shared, client, Ledger(shared, Cipher(())).now)
            stored, lookup = metadata.snapshot(), MetadataLookup(metadata.reread)
        if file is not None:
            mappings = build_lead_mappings(file)
            yield from check_names(mappings, lookup)
            yield from check_stored_ids(mappings, lookup, stored)
        if send_test:
            reports.clear()
            yield from SampleLead(client, lookup, reports, secrets.token_hex(6)).send()


def _print_findings(findings: list[Finding]) -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        level = click.style(
            f"{finding.level:<4}", fg=COLOURS[finding.level], bold=finding.level is not Level.OK
        )
        setting = (
            f"  [{finding.setting}]"
            if finding.setting and finding.setting not in finding.message
            else ""
        )
        text = f"{printable(finding.message)}{printable(setting)}"
        click.echo(f"{level}  {printable(finding.subject):<{width}}  {text}")


def _print_settings(as_json: bool) -> None:
    settings = setup.load_settings()
    if as_json:
        output.print_json({"settings": describe_settings(settings)})
        return
    described = describe_settings(settings)
    width = max(len(row.name) for row in described)
    for row in described:
        click.echo(f"{click.style(f'{row.name:<{width}}', bold=True)}  {printable(row.value)}")
        click.echo(f"{'':<{width}}  {row.help} Unit: {row.unit}; default: {row.default}.")
