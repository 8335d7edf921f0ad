"""Posts at a steady rate, whether or not earlier ones were answered: what is slow shows as waiting,
not as fewer posts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from tests.chaos.senders import Post

POST_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """`at`: when the post was due, seconds from the start; `took`: seconds from then to its answer;
    `status` None: none came.
    """

    token: str
    at: float
    took: float
    status: int | None

    @property
    def came(self) -> float:
        return self.at + self.took


class Load:
    """Sends `new_post(0)`, `new_post(1)`, … to `url`, `rate` a second, from `start` to `stop`. Each
    is sent once.
    """

    def __init__(self, url: str, rate: float, new_post: Callable[[int], Post]) -> None:
        self._url, self._rate, self._new_post = url, rate, new_post
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="load", daemon=True
        )
        self._began = 0.0
        self.posts: list[Post] = []
        self.answers: list[Answer] = []

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Returns once everything sent was answered, or given up."""
        self._stopping.set()
        self._thread.join(3 * POST_SECONDS)

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
        async with (
            httpx.AsyncClient(timeout=POST_SECONDS, limits=limits, trust_env=False) as http,
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
            answer = await http.post(self._url + path, data=fields, headers=headers)
            status = answer.status_code
            if status == 202:
                post.ids.add(answer.json()["id"])
        except httpx.HTTPError:
            pass
        post.statuses.append(status)
        self.answers.append(Answer(post.token, due, self.now - due, status))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0 to 1) of all does not exceed; 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
