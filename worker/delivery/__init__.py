"""From the ledger to Pipedrive, one submission at a time, each step recorded before the next."""

from worker.delivery.delivery import Delivery
from worker.delivery.workshop import Workshop

__all__ = ["Delivery", "Workshop"]
