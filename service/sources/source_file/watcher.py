"""Keeps the source file current: a change on disk takes effect without a restart.

A file with faults changes nothing: they are logged, once for each version of the file, and the last
good version stays in force.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from service.sources.schema import ConfigError, Source, SourceFile
from service.sources.source_file.loader import (
    VERIFY_SECRETS,
    SecretUse,
    build_lead_mappings,
    load_sources,
)
from worker.lead.settings import LeadMapping

log = structlog.get_logger("leadline.sources")

POLL_SECONDS = 2.0


class SourceProvider(Protocol):
    """The sources in force, wherever they come from."""

    @property
    def sources(self) -> dict[str, Source]: ...

    def poll(self) -> bool: ...


class SourceFileWatcher:
    """The sources of the last version of a file that had no faults.

    `secrets` are those of `loader.load_sources`. The first version must have none, or this raises
    ConfigError.
    """

    def __init__(
        self, path: Path, env: Mapping[str, str], *, secrets: Collection[SecretUse] = VERIFY_SECRETS
    ) -> None:
        self._path = path
        self._env = env
        self._secrets = secrets
        self._version = self._read_version()
        self._file: SourceFile = load_sources(path, env, secrets=secrets)
        self.mappings: Mapping[str, LeadMapping] = _CurrentMappings(self)

    @property
    def sources(self) -> dict[str, Source]:
        return self._file.sources

    @property
    def path(self) -> str:
        return self._file.path

    @property
    def file(self) -> SourceFile:
        return self._file

    def poll(self) -> bool:
        """Reads the file again if it changed; returns whether another version is now in force."""
        version = self._read_version()
        if version == self._version:
            return False
        self._version = version
        try:
            self._file = load_sources(self._path, self._env, secrets=self._secrets)
        except ConfigError as error:
            log.error(
                "source file has faults, the last good version stays in force",
                faults=[str(fault) for fault in error.faults],
            )
            return False
        log.info("source file reloaded", sources=len(self._file.sources))
        return True

    def _read_version(self) -> tuple[int, int, int] | None:
        """Tells versions apart, also where a link moves to another file, as in Kubernetes."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


class _CurrentMappings(Mapping[str, LeadMapping]):
    """The lead mappings of the version in force, built once for each version."""

    def __init__(self, watcher: SourceFileWatcher) -> None:
        self._watcher = watcher
        self._built_from: SourceFile | None = None
        self._mappings: dict[str, LeadMapping] = {}

    def __getitem__(self, name: str) -> LeadMapping:
        return self._current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def _current(self) -> dict[str, LeadMapping]:
        file = self._watcher.file
        if file is not self._built_from:
            self._mappings, self._built_from = build_lead_mappings(file), file
        return self._mappings
