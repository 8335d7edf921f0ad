"""Posts at a steady rate, whether or not earlier posts were answered.

So a slow server shows as higher latency, not as fewer posts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from tests.chaos.senders import Post

POST_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class PostResult:
    """The result of one post.

    `due`: seconds since the start; `latency`: seconds since `due`; `status` None: no response.
    """

    token: str
    due: float
    latency: float
    status: int | None

    @property
    def answered_at(self) -> float:
        return self.due + self.latency


class Load:
    """Sends `new_post(0)`, `new_post(1)`, … to `url`, each once.

    It sends `rate` posts a second, from `start` to `stop`.
    """

    def __init__(self, url: str, rate: float, new_post: Callable[[int], Post]) -> None:
        self._url, self._rate, self._new_post = url, rate, new_post
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="load", daemon=True
        )
        self._started_at = 0.0
        self.posts: list[Post] = []
        self.results: list[PostResult] = []

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started_at

    def start(self) -> None:
        self._started_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; returns once every post was answered or given up."""
        self._stopping.set()
        self._thread.join(3 * POST_TIMEOUT_SECONDS)

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
        async with (
            httpx.AsyncClient(timeout=POST_TIMEOUT_SECONDS, limits=limits, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            while not self._stopping.is_set():
                due = len(self.posts) / self._rate
                await asyncio.sleep(max(0.0, due - self.now))
                post = self._new_post(len(self.posts))
                self.posts.append(post)
                group.create_task(self._send(http, post, due))

    async def _send(self, http: httpx.AsyncClient, post: Post, due: float) -> None:
        path, fields, headers = post.request()
        status = None
        try:
            response = await http.post(self._url + path, data=fields, headers=headers)
            status = response.status_code
            if status == 202:
                post.ids.add(response.json()["id"])
        except httpx.HTTPError:
            pass
        post.statuses.append(status)
        self.results.append(PostResult(post.token, due, self.now - due, status))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0 to 1) of all values does not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
