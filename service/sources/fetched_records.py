"""The records of events that carry ids only: where each one is, and the lead it makes.

`leadline work` hands this to the worker, which knows nothing of sources.
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
    """The records of the sources in force. `clock` returns Unix seconds.

    The sources must have been loaded with the secrets of `fetch`.
    """

    def __init__(self, sources: SourceProvider, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock

    def build_request(self, source: str, fetch: Mapping[str, str]) -> RecordRequest:
        """The call that reads a record. Raises Unmappable for what the source file lacks."""
        config, api = self._find(source)
        record = parse_record_id(fetch.get("id"))
        if record is None:
            raise Unmappable("the event names no record", setting=f"sources.{source}.adapter")
        if config.fetch_token is None:
            message = f"the event holds ids only, and no token is set to read {config.adapter}"
            raise Unmappable(message, setting=f"sources.{source}.fetch.token_env")
        base_url, headers = api.base_url, api.headers
        if settings := config.fetch:
            base_url = settings.base_url or base_url
            if settings.version and api.version_header:
                headers = headers | {api.version_header: settings.version}
        return RecordRequest(
            source=source,
            base_url=base_url,
            targets=api.targets(record, config),
            token=config.fetch_token.value,
            token_env=config.fetch_token.env,
            headers=headers,
        )

    def parse(self, source: str, fetch: Mapping[str, str], body: bytes) -> FetchResult:
        """The lead of a fetched record. Raises FetchFailed for a response that is not a record."""
        config, _ = self._find(source)
        result = normalize_record(config, body, self._clock(), fetch)
        if result.outcome is Outcome.UNREADABLE:
            message = f"the response of {config.adapter} is not a record: {result.detail}"
            raise FetchFailed(message, setting=f"sources.{source}.fetch.base_url")
        [event] = result.events
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
        api = ADAPTERS[source.adapter].record_api
        if api is None:
            message = f"the adapter {source.adapter} has no records to read"
            raise Unmappable(message, setting=f"sources.{name}.adapter")
        return source, api
