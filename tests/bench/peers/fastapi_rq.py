"""FastAPI with RQ: a handler in the thread pool enqueues the form."""

import os

from fastapi import FastAPI, Request
from redis import Redis
from rq import Queue
from starlette.concurrency import run_in_threadpool

from tests.bench.peers.jobs import deliver

app = FastAPI()
queue = Queue("peer", connection=Redis.from_url(os.environ["REDIS_URL"]))


@app.post("/in/bench", status_code=202)
async def take(request: Request):
    form = dict(await request.form())
    job = await run_in_threadpool(queue.enqueue, deliver, form)
    return {"id": job.id, "state": "queued"}
