"""FastAPI with Celery: a handler in the thread pool sends the form to the broker."""

import os

from celery import Celery
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool

app = FastAPI()
celery = Celery("peer", broker=os.environ["PEER_BROKER"])


@celery.task(name="deliver", ignore_result=True)
def deliver(lead):
    """Never run here: the benchmark measures the intake."""
    return lead


@app.post("/in/bench", status_code=202)
async def take(request: Request):
    form = dict(await request.form())
    job = await run_in_threadpool(deliver.apply_async, (form,))
    return {"id": job.id, "state": "queued"}
