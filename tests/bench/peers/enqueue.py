"""Queue so many leads for the peers' workers: `python -m tests.bench.peers.enqueue COUNT`."""

import os
import sys

from redis import Redis
from rq import Queue

from tests.bench.peers.jobs import deliver

queue = Queue("peer", connection=Redis.from_url(os.environ["REDIS_URL"]))
queue.enqueue_many(
    [
        Queue.prepare_data(deliver, ({"name": f"Ada {n}", "email": f"ada{n}@example.com"},))
        for n in range(int(sys.argv[1]))
    ]
)
