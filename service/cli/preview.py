"""`leadline preview SOURCE FILE...`: what a raw body would become. Stores and sends nothing."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from service.cli import output
from service.settings import source_file
from service.sources.adapters.registry import ADAPTERS
from service.sources.request import FieldReading, InboundRequest
from service.sources.schema import ConfigError, Source, SourceFile
from service.sources.source_file.loader import load_sources
from worker.settings.table import Settings, SettingsError

if TYPE_CHECKING:
    from service.intake.preview import Preview

BODY = click.Path(exists=True, dir_okay=False, allow_dash=True)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
# The largest API record that the worker reads.
MAX_RECORD_BYTES = 1_000_000
# The last second of the year 9999.
MAX_UNIX_SECONDS = 253_402_300_799
EXPLAINED = ("field", "value", "became", "why", "what else it might have been")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\r\n\0]*)")
_PART = re.compile(rb"--([^\r\n]{1,70})\r?\nContent-Disposition:[ ]*form-data", re.IGNORECASE)


@click.command()
@click.argument("source")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=BODY)
@click.option("--content-type", help="The body's media type. Default: guessed from the body.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request; repeatable.",
)
@click.option("--query", help="The query string without the question mark. Default: that of --url.")
@click.option(
    "--method",
    type=click.Choice(["POST", "GET", "PUT", "PATCH", "DELETE"], case_sensitive=False),
    default="POST",
    show_default=True,
    help="GET is a provider's handshake: the body is ignored.",
)
@click.option(
    "--url", help="The public URL that a scheme signs. Default: from LEADLINE_PUBLIC_URL."
)
@click.option(
    "--api-response",
    is_flag=True,
    help="FILE is a record of the product's API, not a request.",
)
@click.option(
    "--now",
    type=click.FloatRange(0, MAX_UNIX_SECONDS),
    metavar="UNIX_SECONDS",
    help="The time of the request. Default: now.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Say how each field was read and why: a table on a terminal, elsewhere the key"
    " `explanation` of each submission.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for --explain on a terminal too.")
def preview(
    source: str,
    files: tuple[str, ...],
    content_type: str | None,
    headers: tuple[str, ...],
    query: str | None,
    method: str,
    url: str | None,
    api_response: bool,
    now: float | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Show what a raw body would become.

    The body in FILE (- is standard input) is taken as a post to SOURCE. Prints the canonical lead,
    the answer that the sender would get and the Pipedrive calls that would be made; several FILEs
    give one line each. Stores and sends nothing. Exit code 0 whenever the request can be judged,
    even if it is refused.
    """
    from service.intake.preview import preview as preview_request
    from service.intake.preview import preview_record

    settings = _load_settings(os.environ)
    loaded = _load_source(settings, source, os.environ, is_checked=not api_response)
    if api_response and ADAPTERS[loaded.adapter].record_api is None:
        raise click.UsageError(
            f"--api-response: the adapter {loaded.adapter} of {source!r} has no records to read"
        )
    if query is None:
        query = _query_from_url(url)
    fixed = [parse_header(line) for line in headers]
    at = time.time() if now is None else now
    as_table = explain and not as_json and output.is_terminal()
    for file in files:
        if api_response:
            record = read_body(file, MAX_RECORD_BYTES)
            result = preview_record(loaded, record, at, explain=explain)
            _print_result(result, alone=len(files) == 1, as_table=as_table)
            continue
        body = b"" if method == "GET" else read_body(file, loaded.max_body)
        request = InboundRequest(
            method=method,
            query=encode_as_sent(query),
            headers=fixed if method == "GET" else with_content_type(fixed, content_type, body),
            body=body,
            url=url or _public_url(settings.public_url, source, query),
        )
        result = preview_request(loaded, request, at, explain=explain)
        _print_result(result, alone=len(files) == 1, as_table=as_table)


def _print_result(result: Preview, *, alone: bool, as_table: bool) -> None:
    if as_table:
        print_explanation(result)
        if not alone:
            click.echo()
    elif alone:
        output.print_json(result)
    else:
        click.echo(msgspec.json.encode(result).decode())


def print_explanation(result: Preview) -> None:
    """Prints how each field of a request was read, one line a field, for people."""
    output.print_pairs(
        [
            ("outcome", result.outcome),
            *((each.field or "note", each.message) for each in result.problems),
        ]
    )
    for number, event in enumerate(result.submissions, 1):
        rows = event.explanation or ()
        title = f"Submission {number}" if len(result.submissions) > 1 else None
        click.echo()
        output.print_table(EXPLAINED, _explained_rows(rows), title=title)


def _explained_rows(readings: tuple[FieldReading, ...]) -> Iterator[tuple[str, ...]]:
    for each in readings:
        others = (
            f"{other.became}{f' of {other.whose}' if other.whose else ''}: {other.lost}"
            for other in each.others
        )
        yield each.field or "-", each.value, each.became, each.why, "; ".join(others)


def _load_settings(env: Mapping[str, str]) -> Settings:
    try:
        return Settings.for_service(env)
    except SettingsError as error:
        raise click.UsageError("the settings cannot be used:\n" + "\n".join(error.faults)) from None


def _load_source(
    settings: Settings, name: str, env: Mapping[str, str], *, is_checked: bool
) -> Source:
    """The source, with its own secrets if `is_checked`; other sources' secrets are not needed."""
    path = source_file(settings)
    try:
        file = load_sources(path, env, secrets=())
        if name not in file.sources:
            raise click.UsageError(
                f"no source {name!r} in {path}; it has: {', '.join(sorted(file.sources))}"
            )
        if not is_checked:
            return file.sources[name]
        return load_sources(
            path, {**dict.fromkeys(_secrets_of_others(file, name), "not needed"), **env}
        ).sources[name]
    except ConfigError as error:
        faults = "\n".join(map(str, error.faults))
        raise click.UsageError(f"the source file cannot be used:\n{faults}") from None


def _secrets_of_others(file: SourceFile, name: str) -> set[str]:
    by_source = {
        each.name: {*each.verification.secret_env, each.verification.challenge_env or ""}
        for each in file.sources.values()
    }
    return {variable for names in by_source.values() for variable in names if variable} - by_source[
        name
    ]


def read_body(file: str, limit: int) -> bytes:
    """The body, or enough of it to show that it is too large."""
    try:
        with click.open_file(file, "rb") as stream:
            body: bytes = stream.read(limit + 1)
            return body
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror or error}") from None


def parse_header(line: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(line.strip())
    if not match:
        raise click.BadParameter(f"expected 'Name: value', got {line!r}", param_hint="--header")
    return match[1].lower(), encode_as_sent(match[2].strip())


def encode_as_sent(text: str) -> str:
    """Command-line text as servers pass it on: its bytes read as Latin-1."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def with_content_type(
    headers: list[tuple[str, str]], content_type: str | None, body: bytes
) -> list[tuple[str, str]]:
    if content_type is None and any(name == "content-type" for name, _ in headers):
        return headers
    others = [header for header in headers if header[0] != "content-type"]
    return [
        *others,
        (
            "content-type",
            encode_as_sent(content_type) if content_type is not None else guess_content_type(body),
        ),
    ]


def guess_content_type(body: bytes) -> str:
    """The media type that a body looks like: multipart by its first part, else JSON or a form."""
    part = _PART.match(body)
    if part:
        return f'multipart/form-data; boundary="{part[1].decode("latin-1")}"'
    return JSON if body.lstrip()[:1] in (b"{", b"[") or _is_json(body) else FORM


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _query_from_url(url: str | None) -> str:
    try:
        return urlsplit(url or "").query
    except ValueError:
        raise click.BadParameter(f"expected a URL, got {url!r}", param_hint="--url") from None


def _public_url(base: str | None, source: str, query: str) -> str | None:
    """The public URL as the service builds it."""
    if base is None:
        return None
    return f"{base}/in/{source}?{query}" if query else f"{base}/in/{source}"
