"""From the ledger to Pipedrive: one submission at a time, each step recorded before the next."""

from worker.delivery.context import DeliveryContext
from worker.delivery.delivery import Delivery

__all__ = ["Delivery", "DeliveryContext"]
