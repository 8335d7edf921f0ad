"""The source file, kept current: read again when it changes on disk, so that a mended label needs
no restart.

A file with faults changes nothing: they are logged, once for each version of the file, and the last
good one stays in force.
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
    """The sources in force, whoever keeps them."""

    @property
    def sources(self) -> dict[str, Source]: ...

    def poll(self) -> bool: ...


class SourceFileWatcher:
    """Raises ConfigError at the first reading. `secrets` as for
    `service.sources.source_file.loader.load`.
    """

    def __init__(
        self, path: Path, env: Mapping[str, str], *, secrets: Collection[SecretUse] = VERIFY_SECRETS
    ) -> None:
        self._path = path
        self._env = env
        self._secrets = secrets
        self._seen = self._signature()
        self._file: SourceFile = load_sources(path, env, secrets=secrets)
        self.mappings: Mapping[str, LeadMapping] = _Writings(self)

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
        """Reads the file again if it changed; whether another version is in force now."""
        seen = self._signature()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._file = load_sources(self._path, self._env, secrets=self._secrets)
        except ConfigError as error:
            log.error(
                "source file has faults, the last good one stays in force",
                faults=[str(fault) for fault in error.faults],
            )
            return False
        log.info("source file read again", sources=len(self._file.sources))
        return True

    def _signature(self) -> tuple[int, int, int] | None:
        """Tells versions of the file apart; also where it is replaced through a link, as Kubernetes
        does.
        """
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


class _Writings(Mapping[str, LeadMapping]):
    """What the worker needs of the sources, always of the version in force."""

    def __init__(self, watched: SourceFileWatcher) -> None:
        self._watched = watched
        self._of: SourceFile | None = None
        self._made: dict[str, LeadMapping] = {}

    def __getitem__(self, name: str) -> LeadMapping:
        return self._current()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def _current(self) -> dict[str, LeadMapping]:
        file = self._watched.file
        if file is not self._of:
            self._made, self._of = build_lead_mappings(file), file
        return self._made
