"""What the deliveries of one process share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.fate import Policy
from worker.leases import Leases
from worker.ledger import Ledger
from worker.memory import Memory
from worker.metrics import Meter
from worker.pipedrive.catalogue import Catalogue
from worker.sweeper import Sweeper
from worker.writing import SourceWriting


@dataclass(frozen=True)
class Workshop:
    """`clock` tells Unix seconds, `pause` sleeps so many seconds; `writings` holds each source's settings by its name."""

    ledger: Ledger
    leases: Leases
    memory: Memory
    catalogue: Catalogue
    sweeper: Sweeper
    meter: Meter
    policy: Policy
    writings: Mapping[str, SourceWriting]
    clock: Callable[[], float]
    pause: Callable[[float], None] = time.sleep
