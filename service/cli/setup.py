"""What most commands begin with: settings, source file, Redis.

If one of them cannot be used, the command ends with exit code 1 and every fault at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

from service.local.redis import EmbeddedRedis, EmbeddedRedisError, find_redis_url
from service.settings import source_file
from service.sources.schema import ConfigError, SourceFile
from service.sources.source_file.loader import SecretUse, load_sources
from service.sources.source_file.watcher import SourceFileWatcher
from worker.encryption import Cipher
from worker.errors import LeadlineError, StoreUnavailable
from worker.ledger import Ledger
from worker.settings.table import Settings, SettingsError, find_misspelt
from worker.store.connection import connect

STORE_TIMEOUT_SECONDS = 5.0


def exit_with_error(*lines: str) -> NoReturn:
    """Ends the command with exit code 1 and these lines on standard error."""
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)


def load_settings(load: Callable[[Mapping[str, str]], Settings] = Settings.for_all) -> Settings:
    """The settings of this process."""
    for name, meant in find_misspelt(os.environ).items():
        click.echo(f"warning: {name} is not a setting; did you mean {meant}?", err=True)
    try:
        return load(os.environ)
    except SettingsError as error:
        exit_with_error(
            "leadline: the settings cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


def load_source_file(settings: Settings, env: Mapping[str, str] = os.environ) -> SourceFile:
    """The source file with its secrets, which `env` holds."""
    with _exit_on_faults("the source file"):
        return load_sources(source_file(settings), env)


def read_source_file(path: Path) -> SourceFile:
    """A source file without its secrets, for commands that only read or write leads."""
    with _exit_on_faults(f"the source file {path}"):
        return load_sources(path, os.environ, secrets=())


def watch_source_file(settings: Settings, *, secrets: Collection[SecretUse]) -> SourceFileWatcher:
    """The source file, read again whenever it changes."""
    with _exit_on_faults("the source file"):
        return SourceFileWatcher(source_file(settings), os.environ, secrets=secrets)


@contextmanager
def _exit_on_faults(what: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        exit_with_error(
            f"leadline: {what} cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


@contextmanager
def redis_url(settings: Settings) -> Iterator[str]:
    """The URL of the Redis in use, or of an embedded one that runs as long as the command."""
    url = find_redis_url(settings)
    if url:
        yield url
        return
    try:
        with EmbeddedRedis(settings.data_dir) as server:
            yield server.url
    except EmbeddedRedisError as error:
        exit_with_error(f"leadline: {error}")


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger for a command. A LeadlineError ends the command with one line."""
    with redis_url(settings) as url, connect(url, timeout=STORE_TIMEOUT_SECONDS) as client:
        try:
            yield Ledger(client, Cipher(settings.encryption_keys))
        except StoreUnavailable as error:
            exit_with_error(f"leadline: {error}; {error.advice}")
        except LeadlineError as error:
            exit_with_error(f"leadline: {error}")


def operator_name() -> str:
    """Who acts, for timeline and audit trail."""
    return f"cli:{os.environ.get('USER') or os.environ.get('LOGNAME') or os.getuid()}"
