"""Where delivered leads came from: a row each, which outlives the erasure of their content.

    delivered ── nightly, or right before retention erases it ──> row ── 400 days ──> gone

A row holds no personal data: source, campaign, channel and whether the lead carried UTM fields and
a click id. What became of the lead in Pipedrive is read for these rows
(`worker.pipedrive.lead_outcomes`), and may be known only months later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import cast

import msgspec
from msgspec import Struct

from worker.contract import State
from worker.encryption import DecryptionError
from worker.lead.attribution import inspect_lead
from worker.lead.settings import LeadMapping
from worker.ledger.ledger import Ledger
from worker.ledger.record import Record
from worker.store import keys
from worker.store.connection import scan_hash, translate_errors
from worker.store.scripts import Scripts

ROW_SECONDS = 400 * 24 * 3600

# Rows removed at a time.
BATCH_SIZE = 2_000


class AttributionRow(Struct, frozen=True, array_like=True):
    """A delivered lead. `received_at` is in Unix seconds.

    `campaign` and `channel` are None where it has none; `channel` is what the source file said when
    the row was made.
    """

    source: str
    campaign: str | None
    channel: str | None
    received_at: float
    utm: bool = False
    click_id: bool = False


class AttributionRows:
    """The rows of one account. Every method may raise `StoreUnavailable`."""

    def __init__(self, ledger: Ledger, mappings: Mapping[str, LeadMapping]) -> None:
        self._ledger = ledger
        self._mappings = mappings
        self._key = ledger.account.attribution
        self._scripts = Scripts(ledger.redis, None, ledger.account)

    def add(self, ids: Sequence[str]) -> None:
        """Make the rows of those submissions that are delivered; an existing row stays as it is."""
        records = self._ledger.each_record(ids, raw=False)
        rows = {
            record.id: self._ledger.cipher.seal(msgspec.json.encode(self.build(record)))
            for record in records
            if record.state is State.DELIVERED
        }
        if rows:
            self._scripts.run("ledger/attribute", rows=rows)

    def collect(self, since: float, limit: int) -> float | None:
        """Make the rows of up to `limit` deliveries, from those of `since` (Unix seconds) on.

        Returns from when to go on; None once there are no more. Old rows are then removed.
        """
        with translate_errors():
            delivered = cast(
                "list[tuple[bytes, float]]",
                self._ledger.redis.zrange(
                    keys.state(State.DELIVERED),
                    cast("int", since),  # a float, whatever the stubs say
                    "+inf",
                    byscore=True,
                    withscores=True,
                    offset=0,
                    num=limit,
                ),
            )
        self.add([raw.decode() for raw, _ in delivered])
        if len(delivered) == limit and delivered[-1][1] > since:
            return delivered[-1][1]
        self._remove_old()
        return None

    def build(self, record: Record) -> AttributionRow:
        """The row of a submission; of one whose content cannot be read, only its source."""
        if record.lead is None:
            return AttributionRow(record.source, None, None, record.received_at)
        lead = inspect_lead(
            record.lead,
            self._mappings.get(record.source),
            record.source,
            received_at=record.received_at,
            submission_id=record.id,
        )
        return AttributionRow(
            record.source, lead.campaign, lead.channel, record.received_at, lead.utm, lead.click_id
        )

    def each(self) -> Iterator[tuple[str, AttributionRow]]:
        """Every row that exists throughout, by submission id; possibly more than once."""
        decoder = msgspec.json.Decoder(AttributionRow)
        for name, value in scan_hash(self._ledger.redis, self._key):
            with suppress(DecryptionError):
                yield name.decode(), decoder.decode(self._ledger.cipher.unseal(value))

    def _remove_old(self) -> None:
        since = self._ledger.now() - ROW_SECONDS
        old = [submission_id for submission_id, row in self.each() if row.received_at < since]
        for start in range(0, len(old), BATCH_SIZE):
            with translate_errors():
                self._ledger.redis.hdel(self._key, *old[start : start + BATCH_SIZE])
