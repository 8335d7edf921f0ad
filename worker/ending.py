"""How background tasks of an event loop are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

CANCELS = 8


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels until all have ended: a cancellation that meets a command under way to Redis can get lost in the client."""
    for _ in range(CANCELS):
        for task in tasks:
            task.cancel()
        if tasks and (await asyncio.wait(tasks, timeout=0.5))[1]:
            continue
        return
