"""The ledger: the record of every submission in Redis, changed only by its Lua scripts."""

from worker.ledger.gate import Pause
from worker.ledger.ledger import ClaimResult, Ledger
from worker.ledger.record import Record

__all__ = ["ClaimResult", "Ledger", "Pause", "Record"]
