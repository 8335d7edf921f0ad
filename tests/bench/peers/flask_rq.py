"""Flask with RQ, served by threads."""

import os

from flask import Flask, jsonify, request
from redis import Redis
from rq import Queue

from tests.bench.peers.jobs import deliver

app = Flask(__name__)
queue = Queue("peer", connection=Redis.from_url(os.environ["REDIS_URL"]))


@app.post("/in/bench")
def take():
    job = queue.enqueue(deliver, request.form.to_dict())
    return jsonify(id=job.id, state="queued"), 202
