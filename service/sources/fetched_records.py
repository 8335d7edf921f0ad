"""What the worker is told of records: where the one of an event is, and what it means. Handed over
by `leadline work`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from service.sources.adapters.base import RecordApi
from service.sources.adapters.questions import parse_record_id
from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize_record
from service.sources.request import Outcome
from service.sources.schema import Source
from service.sources.source_file.watcher import SourceProvider
from worker.delivery.fetch import FetchResult, RecordRequest
from worker.errors import FetchFailed, Unmappable


class SourceRecords:
    """The records of the sources in force, whichever version of the file that is. `clock` tells
    Unix seconds.

    The sources must have been loaded with the secrets of `fetch`.
    """

    def __init__(self, sources: SourceProvider, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock

    def build_request(self, source: str, fetch: Mapping[str, str]) -> RecordRequest:
        """Raises Unmappable for what the source file lacks."""
        config, records = self._find(source)
        record = parse_record_id(fetch.get("id"))
        if record is None:
            raise Unmappable("the event names no record", setting=f"sources.{source}.adapter")
        if config.fetch_token is None:
            said = (
                "the event holds ids alone, and no token is set to read the rest from"
                f" {config.adapter}"
            )
            raise Unmappable(said, setting=f"sources.{source}.fetch.token_env")
        given = config.fetch
        version = (
            {records.version_header: given.version}
            if given and given.version and records.version_header
            else {}
        )
        return RecordRequest(
            source=source,
            base_url=(given.base_url if given else None) or records.base_url,
            targets=records.targets(record, config),
            token=config.fetch_token.value,
            token_env=config.fetch_token.env,
            headers=records.headers | version,
        )

    def parse(self, source: str, fetch: Mapping[str, str], body: bytes) -> FetchResult:
        """Raises FetchFailed for an answer that is no record."""
        config, _ = self._find(source)
        reading = normalize_record(config, body, self._clock(), fetch)
        if reading.outcome is Outcome.UNREADABLE:
            said = f"what {config.adapter} answered is no record: {reading.detail}"
            raise FetchFailed(said, setting=f"sources.{source}.fetch.base_url")
        [event] = reading.events
        match event.outcome:
            case Outcome.LEAD:
                return FetchResult("lead", event.lead)
            case Outcome.NO_CONTACT:
                return FetchResult("no_contact", event.lead, event.reason)
            case _:
                return FetchResult("ignored", event.lead, event.reason)

    def _find(self, name: str) -> tuple[Source, RecordApi]:
        source = self._sources.sources.get(name)
        if source is None:
            raise Unmappable(f"the source file has no source {name!r}", setting=f"sources.{name}")
        records = ADAPTERS[source.adapter].record_api
        if records is None:
            raise Unmappable(
                f"the adapter {source.adapter} has no records to read",
                setting=f"sources.{name}.adapter",
            )
        return source, records
