"""Every Redis key, once: pattern, type, content, lifetime. Nobody builds key text anywhere else.

| key                                | type   | content                                                        | lifetime |
|------------------------------------|--------|----------------------------------------------------------------|----------|
| leadline:submission:{id}           | hash   | the record: `worker.ledger.record.Record`                      | until retention; the receipt stays for the duplicate window |
| leadline:submission:{id}:timeline  | list   | JSON `Moment`s, oldest first, the newest 200                    | with the record |
| leadline:submission:{id}:attempts  | list   | JSON `Attempt`s, oldest first, the newest 200                  | with the record |
| leadline:state:{state}             | zset   | ids by the time (Unix seconds) they entered the state          | each id with its record |
| leadline:erased:{digest}           | hash   | the mark of who asked to be erased: `before`, `by`, `submission:{id}`, `person:{id}`, `lead:{id}` | 90 days |
| leadline:gone                      | string | how many erased submissions are not even a receipt any more    | for ever, one number |
| leadline:retention                 | string | which worker process has this turn at erasing what is old      | 1.5 s |
| leadline:unwritten                 | string | that what it erased may still stand in Redis's file            | until the file is written anew |
| leadline:rewritten                 | string | that Redis was asked to write its file anew                    | a day |
| leadline:due                       | zset   | ids by their turn, a time (Unix seconds) or a mark around which stand those who wait for a gate or for room: `turn` in `prelude.lua` | while they wait |
| leadline:newer                     | zset   | waiting ids of a newer version than the worker that met them, by version | until a newer worker takes them |
| leadline:leases                    | zset   | ids in delivery by the time (Unix seconds) their lease ends    | while delivering |
| leadline:duplicate:{source}:{kind}:{digest} | string | `id fingerprint`                                      | `content`: the window; else 7 days after the final state |
| leadline:duplicate:{source}:key:{digest}:{fingerprint} | string | the same, for another body under a used key, acknowledged while Redis was away | 7 days after the final state |
| leadline:limit:{source}:{digest}   | string | when this address's allowance is whole again (ms)               | the source's period |
| leadline:refused:{source}          | list   | JSON of the newest refused requests, without body              | a day after the last |
| leadline:line:{digest}             | list   | submission ids: the head holds the line, the others wait       | while somebody stands in it |
| leadline:person:{digest}           | hash   | `PersonMemory`: what we know of an e-mail or phone             | 400 days, renewed by use |
| leadline:organization:{digest}     | string | organisation id by normalised name                              | 400 days, renewed by use |
| leadline:catalogue                 | hash   | labels, channels, owners, fields as JSON, with `at`            | renewed hourly |
| leadline:drift                     | string | JSON `worker.drift.drift.DriftReport`: what the account lacks        | until the next look, hourly |
| leadline:drift:turn                | string | that a worker process looks for it                             | a minute |
| leadline:catalogue:lock            | string | who creates a missing label                                    | 30 s |
| leadline:pause                     | hash   | an operator's pause: reason, since, by                          | until resumed |
| leadline:gate                      | hash   | what Pipedrive's answers closed: reason, mode, since, until, probes | until lapsed or probed open |
| leadline:gate:probe                | string | the one submission let through to try the gate                 | 60 s |
| leadline:outage                    | zset   | ids that could not get through since the last delivery, by time | a day                    |
| leadline:suspects                  | zset   | `id step#look` of what was made again, by the time of its next look | a quarter of an hour |
| leadline:doubles                   | hash   | submission id -> JSON `{step, ids, at}` of what exists twice    | with the record |
| leadline:sweeper                   | string | which worker process sweeps                                    | 3 s, renewed each beat |
| leadline:allowance:burst, :search  | zset   | calls of the window `ticket:cost` by when each has arrived at the latest | a minute |
| leadline:allowance:line            | zset   | calls that wait for their turn, by when they must have asked again | a minute |
| leadline:allowance:day:{n}         | string | tokens spent by our count on the n-th day since 1970            | two days |
| leadline:allowance:left            | string | tokens left today, corrected by answers                        | until midnight UTC |
| leadline:allowance:limit, :closed  | string | the window an answer stated; until when nothing may be sent    | an hour; until then |
| leadline:allowance:quick:{minute}  | string | seconds of the minute's quickest exchange                      | 3 minutes |
| leadline:oauth                     | hash   | access and refresh token, sealed; the scopes granted           | for ever |
| leadline:oauth:lock                | string | who refreshes                                                  | 30 s |
| leadline:metrics                   | hash   | series name as Prometheus writes it -> number                  | for ever: some forty for each source there ever was |
| leadline:ready                     | string | nothing: the write that shows that Redis takes writes          | a minute |
| leadline:workers                   | hash   | worker process -> JSON `{slots, pid, host, seen}`              | an entry 60 s after its last beat |
| leadline:changes                   | stream | `id` of each record that changed its state                     | the newest 100,000 or so |
| leadline:causes:ignored            | hash   | cause id -> when somebody chose to ignore it (Unix seconds)     | for ever |
| leadline:alerts                    | string | JSON `service.alerts.state.Watched`: what stands, when sources spoke | for ever |
| leadline:alerts:turn               | string | which service process watches for alerts                       | 40 s, renewed each beat |
| leadline:tide                      | hash   | the server's life that all agreed on, `horizon`: what came before it is looked for first; a roll call; `all`: how many creates were ever announced; `beat`, `leap`: when anybody last spoke, when its clock was set ahead | for ever |
| leadline:tide:marks                | hash   | worker process -> how many creates it has announced            | a minute after its last beat |
| leadline:tide:roll                 | zset   | worker processes by the time of their last beat                | as the marks |
| leadline:tide:absent               | set    | processes that have yet to speak after a restart               | seconds |
| leadline:audit                     | stream | who did what to which submission                               | the newest 100,000 |
| leadline:bulk:{id}                 | hash   | a bulk action: action, by, at, count, edit (sealed), outcomes, stopped, ended_at | 7 days after its end |
| leadline:bulk:{id}:left, :out      | zset   | its ids that wait for their turn, in order; those on their way, by the last look | until its end |
| leadline:bulks, leadline:bulks:running | zset | bulk actions by the time they were made; those that are not over | a week; until their end |
| leadline:bulk-claims               | hash   | submission id -> the unfinished bulk action that has it        | until its outcome |
| leadline:bulk-lock                 | string | who advances bulk actions                                      | 5 s, renewed each beat |
| leadline:lockout:{digest}          | string | an address that showed too many wrong ops tokens               | a minute |
| leadline:known:{digest}            | string | that an ops token's owner was seen at an address               | 30 days, renewed by use |
| leadline:session:ended:{digest}    | string | a console session that was signed out                          | as long as it would have lasted |
| rq:…                               | -      | RQ's own: the queue, its jobs and workers                      | RQ's |

Digests are SHA-256 (first 32 hex digits) of the normalised value, so that no personal data stands in a key.
"""

from __future__ import annotations

import hashlib

PREFIX = "leadline:"
DUE = PREFIX + "due"
NEWER = PREFIX + "newer"
LEASES = PREFIX + "leases"
PAUSE = PREFIX + "pause"
SWEEPER = PREFIX + "sweeper"
CATALOGUE = PREFIX + "catalogue"
CATALOGUE_LOCK = PREFIX + "catalogue:lock"
DRIFT = PREFIX + "drift"
DRIFT_TURN = PREFIX + "drift:turn"
GATE = PREFIX + "gate"
PROBE = PREFIX + "gate:probe"
OUTAGE = PREFIX + "outage"
SUSPECTS = PREFIX + "suspects"
DOUBLES = PREFIX + "doubles"
OAUTH = PREFIX + "oauth"
OAUTH_LOCK = PREFIX + "oauth:lock"
METRICS = PREFIX + "metrics"
GONE = PREFIX + "gone"
RETENTION = PREFIX + "retention"
REWRITTEN = PREFIX + "rewritten"
UNWRITTEN = PREFIX + "unwritten"
READY = PREFIX + "ready"
WORKERS = PREFIX + "workers"
AUDIT = PREFIX + "audit"
CAUSES_IGNORED = PREFIX + "causes:ignored"
CHANGES = PREFIX + "changes"
TIDE = PREFIX + "tide"
TIDE_MARKS = PREFIX + "tide:marks"
TIDE_ROLL = PREFIX + "tide:roll"
TIDE_ABSENT = PREFIX + "tide:absent"
ALERTS = PREFIX + "alerts"
ALERTS_TURN = PREFIX + "alerts:turn"
BULK = PREFIX + "bulk:"
BULK_LOCK = PREFIX + "bulk-lock"
BULK_CLAIMS = PREFIX + "bulk-claims"
BULKS = PREFIX + "bulks"
BULKS_RUNNING = PREFIX + "bulks:running"
ALLOWANCE = PREFIX + "allowance:"

QUEUE = "leadline"
"""The one RQ queue; `rq info` shows it by this name."""


def digest(*parts: str) -> str:
    """A short, stable stand-in for a value that must not appear in a key."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def submission(submission_id: str) -> str:
    return f"{PREFIX}submission:{submission_id}"


def timeline(submission_id: str) -> str:
    return f"{PREFIX}submission:{submission_id}:timeline"


def attempts(submission_id: str) -> str:
    return f"{PREFIX}submission:{submission_id}:attempts"


def state(name: str) -> str:
    return f"{PREFIX}state:{name}"


def duplicate(source: str, kind: str, value: str) -> str:
    return f"{PREFIX}duplicate:{source}:{kind}:{value}"


def line(kind: str, value: str) -> str:
    """`kind` is `email`, `phone` or `organization`; `value` is normalised."""
    return f"{PREFIX}line:{digest(kind, value)}"


def person(kind: str, value: str) -> str:
    return f"{PREFIX}person:{digest(kind, value)}"


def erased(kind: str, value: str) -> str:
    """`kind` is `email`, `phone` or `id`; `value` is normalised."""
    return f"{PREFIX}erased:{digest(kind, value)}"


def organization(name: str) -> str:
    return f"{PREFIX}organization:{digest(name)}"


def limit(source: str, address: str) -> str:
    return f"{PREFIX}limit:{source}:{digest(address)}"


def refused(source: str) -> str:
    return f"{PREFIX}refused:{source}"


def lockout(address: str) -> str:
    return f"{PREFIX}lockout:{digest(address)}"


def known(address: str, owner: str) -> str:
    return f"{PREFIX}known:{digest(address, owner)}"


def session_ended(nonce: str) -> str:
    return f"{PREFIX}session:ended:{digest(nonce)}"
