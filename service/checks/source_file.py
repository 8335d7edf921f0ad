"""The source file: its faults, the secrets it names, and which sources anybody can post to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from service.checks.finding import Finding, fail, ok, warn
from service.sources.adapters.registry import ADAPTERS, demands_proof
from service.sources.schema import MIN_SECRET_CHARS, ConfigError, Fault, Source, SourceFile
from service.sources.source_file.loader import VERIFY_SECRETS, SecretUse, load_sources

SOURCE_FILE = "source file"


def check_source_file(
    path: Path,
    env: Mapping[str, str],
    *,
    is_example: bool,
    public_url: str | None,
    has_worker: bool,
) -> tuple[SourceFile | None, list[Finding]]:
    """The source file without secrets, or None where it cannot be used, and every finding.

    `env` holds the secrets. `has_worker`: this machine has Pipedrive's credentials, so it needs the
    secrets for fetching as well.
    """
    faults = _faults(path, env, ())
    if faults:
        return None, [_finding_from_fault(fault) for fault in faults]
    file = load_sources(path, env, secrets=())
    count = len(file.sources)
    findings = [ok(SOURCE_FILE, f"{path}: {count} source{'' if count == 1 else 's'}")]
    if is_example:
        findings = [
            warn(
                SOURCE_FILE,
                f"no leadline.toml here: the packaged example {path} is in use",
                "LEADLINE_CONFIG",
            )
        ]
    level, who = (
        (warn, "`leadline up` generates one for the example")
        if is_example
        else (fail, "the service needs it")
    )
    findings += [
        level(SOURCE_FILE, f"{fault} ({who})", _setting(fault))
        for fault in _faults(path, env, ("verify",))
    ]
    level = fail if has_worker else warn
    findings += [
        level(SOURCE_FILE, f"{fault} (the worker needs it)", _setting(fault))
        for fault in _faults(path, env, ("fetch",))
    ]
    for source in file.sources.values():
        findings += _check_source(source, public_url)
    for source in _with_secrets(path, env):
        findings += _check_secrets(source)
    return file, findings


def _faults(path: Path, env: Mapping[str, str], needs: tuple[SecretUse, ...]) -> list[Fault]:
    try:
        load_sources(path, env, secrets=needs)
    except ConfigError as error:
        return error.faults
    return []


def _finding_from_fault(fault: Fault) -> Finding:
    return fail(SOURCE_FILE, str(fault), _setting(fault))


def _setting(fault: Fault) -> str | None:
    """`sources.contact.reply` of `leadline.toml:3 sources.contact.reply`."""
    return fault.where.partition(" ")[2] or None


def _check_source(source: Source, public_url: str | None) -> Iterator[Finding]:
    subject, setting = f"source {source.name}", f"sources.{source.name}.verify"
    line = f" (line {source.line})" if source.line else ""
    if not demands_proof(source):
        yield warn(
            subject,
            f"anybody who knows the URL can post to it: verify is none{line}",
            setting,
        )
    elif signs_url(source) and public_url is None:
        message = (
            "its scheme signs the public URL, which is unknown, so every request would be"
            f" refused{line}"
        )
        yield fail(subject, message, "LEADLINE_PUBLIC_URL")
    else:
        yield ok(
            subject,
            f"{source.adapter} at /in/{source.name}, verified by"
            f" {source.verification.scheme or 'its own scheme'}",
        )
    if ADAPTERS[source.adapter].record_api and not (source.fetch and source.fetch.token_env):
        message = (
            f"{source.adapter} may send only ids; the worker then needs a token to read the"
            f" rest{line}"
        )
        yield warn(subject, message, f"sources.{source.name}.fetch.token_env")


def _with_secrets(path: Path, env: Mapping[str, str]) -> list[Source]:
    """The sources with the secrets that senders show; none where one is missing."""
    try:
        return list(load_sources(path, env, secrets=VERIFY_SECRETS).sources.values())
    except ConfigError:
        return []


def _check_secrets(source: Source) -> Iterator[Finding]:
    for secret in filter(None, (*source.secrets, source.challenge)):
        if secret.is_short:
            yield fail(
                f"source {source.name}",
                f"{secret.env}: expected a secret of at least {MIN_SECRET_CHARS} characters, got a"
                " shorter one (not shown)",
                f"sources.{source.name}.verify",
            )


def signs_url(source: Source) -> bool:
    """Whether the URL that the sender used is part of the signed text."""
    return source.verification.scheme in (None, "hmac") and "{url}" in source.verification.signed
