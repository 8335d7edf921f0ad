"""`leadline sources new`: writes the lines of the source file that read a captured request."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import click
import msgspec

from service.cli import output
from service.cli.output import printable
from service.cli.preview import (
    BODY,
    MAX_RECORD_BYTES,
    encode_as_sent,
    parse_header,
    read_body,
    with_content_type,
)
from service.settings import source_file
from service.sources.request import InboundRequest
from service.sources.schema import ConfigError, SourceSecret
from service.sources.source_file.loader import load_sources
from service.sources.source_file.validation import TARGETS
from service.sources.wizard.propose import Proposal, propose
from worker.lead.templates import CLICK_IDS
from worker.settings.table import Settings, SettingsError


@click.command()
@click.argument("file", type=BODY)
@click.option("--content-type", help="The body's media type. Default: guessed from the body.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request; repeatable.",
)
@click.option("--query", default="", help="The query string, without the question mark.")
@click.option(
    "--method",
    type=click.Choice(["POST", "GET"], case_sensitive=False),
    default="POST",
    show_default=True,
    help="GET is a provider's handshake: the body is ignored.",
)
@click.option("--url", help="The public URL that it was sent to, for schemes that sign it.")
@click.option(
    "--name", help="The name of the source and the end of its URL. Default: the product's."
)
@click.option(
    "--secret-env",
    metavar="VARIABLE",
    help="The variable with the sender's secret, to find out what is signed. Never printed.",
)
@click.option("--ask", is_flag=True, help="Ask on a terminal which fields the unknown ones are.")
@output.json_option
def new(
    file: str,
    content_type: str | None,
    headers: tuple[str, ...],
    query: str,
    method: str,
    url: str | None,
    name: str | None,
    secret_env: str | None,
    ask: bool,
    as_json: bool,
) -> None:
    """Write a source for a captured request.

    The body is in FILE (- is standard input). The lines of the source file go to standard output;
    the lead that they give, and what remains open, go to standard error. Changes nothing.
    """
    body = b"" if method == "GET" else read_body(file, MAX_RECORD_BYTES)
    fixed = [parse_header(line) for line in headers]
    sent = fixed if method == "GET" else with_content_type(fixed, content_type, body)
    request = InboundRequest(
        method=method, query=encode_as_sent(query), headers=sent, body=body, url=url
    )
    secrets = _secrets(secret_env)
    proposal = _propose(request, name, secrets)
    if name is None and (free := _free_name(proposal.name)) != proposal.name:
        proposal = _propose(request, free, secrets)
    if ask and output.is_interactive():
        proposal = _ask_open_questions(request, proposal, secrets, name)
    if as_json:
        output.print_json(_as_json(proposal))
        return
    click.echo(proposal.toml, nl=False)
    _explain(proposal)


def _propose(
    request: InboundRequest, name: str | None, secrets: Sequence[SourceSecret], **decided: Any
) -> Proposal:
    try:
        return propose(request, name=name, now=time.time(), secrets=secrets, **decided)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _secrets(variable: str | None) -> list[SourceSecret]:
    if variable is None:
        return []
    if not (value := os.environ.get(variable, "").strip()):
        raise click.BadParameter(f"{variable} is not set", param_hint="--secret-env")
    return [SourceSecret(variable, value)]


def _free_name(name: str) -> str:
    """The name, with a number appended where the source file already has it."""
    try:
        taken = load_sources(
            source_file(Settings.for_service(os.environ)), os.environ, secrets=()
        ).sources
    except (ConfigError, SettingsError):
        return name
    numbered = (f"{name}_{number}" for number in count(2))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def _ask_open_questions(
    request: InboundRequest, proposal: Proposal, secrets: Sequence[SourceSecret], name: str | None
) -> Proposal:
    """Asks a person about what remained open; an empty answer leaves it as it is."""
    chosen = name or click.prompt("Name of the source", default=proposal.name, err=True)
    mapped = {suggestion.path: suggestion.line for suggestion in proposal.guessed}
    for suggestion in proposal.guessed:
        answer = click.prompt(
            f"{printable(suggestion.path)} is {suggestion.field} ({suggestion.why})",
            default=suggestion.field,
            err=True,
            value_proc=_parse_field,
        )
        if answer and answer != suggestion.field:
            mapped[suggestion.path] = answer
    for question in proposal.unmapped:
        label = f"{printable(question.label)} ({printable(question.value)[:40]})"
        if answer := click.prompt(
            f"{label}: which field",
            default="",
            show_default=False,
            err=True,
            value_proc=_parse_field,
        ):
            mapped[question.path] = answer
    return _propose(request, chosen, secrets, mapped=mapped)


def _parse_field(answer: str) -> str:
    target = answer.strip()
    if target and target not in TARGETS and not target.startswith(("answers.", "click_ids.")):
        fields = ", ".join(sorted(TARGETS - set(CLICK_IDS)))
        raise click.UsageError(f"expected a field ({fields}) or answers.NAME, got {target!r}")
    return target


def _explain(proposal: Proposal) -> None:
    """Prints on standard error, so that the lines can be appended to the source file."""
    click.echo(f"\n{proposal.adapter}: {printable(proposal.why)}", err=True)
    if proposal.reading is not None:
        click.echo(f"the captured request would be: {proposal.reading.outcome}", err=True)
    for field, value in _lead_values(proposal):
        click.echo(f"  {field:<12} {printable(value)}", err=True)
    for warning in proposal.warnings:
        click.echo(f"check: {printable(warning)}", err=True)
    if proposal.secrets:
        click.echo(f"set these variables: {', '.join(proposal.secrets)}", err=True)
    click.echo(
        f"then: leadline check --offline, and leadline preview {proposal.name} FILE", err=True
    )


def _lead_values(proposal: Proposal) -> list[tuple[str, Any]]:
    if proposal.lead is None:
        return []
    lead: dict[str, Any] = msgspec.to_builtins(proposal.lead)
    return [(name, value) for name, value in lead.items() if value not in (None, {}, False)]


def _as_json(proposal: Proposal) -> dict[str, Any]:
    return {
        "name": proposal.name,
        "adapter": proposal.adapter,
        "why": proposal.why,
        "toml": proposal.toml,
        "outcome": proposal.reading.outcome if proposal.reading else None,
        "lead": dict(_lead_values(proposal)),
        "unmapped": proposal.unmapped,
        "guessed": proposal.guessed,
        "warnings": proposal.warnings,
        "secrets": proposal.secrets,
    }
