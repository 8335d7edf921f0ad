"""From the ledger to Pipedrive, one submission at a time, each step recorded before the next."""

from worker.delivery.delivery import Delivery, Workshop

__all__ = ["Delivery", "Workshop"]
