"""Every Redis key: pattern, type, content, lifetime. No other module builds key text.

| key                                | type   | content                                                        | lifetime |
|------------------------------------|--------|----------------------------------------------------------------|----------|
| leadline:submission:{id}           | hash   | the record: `worker.ledger.record.Record`                      | until its retention is over; the receipt stays for the duplicate window |
| leadline:submission:{id}:timeline  | list   | JSON `Moment`s, oldest first: the first and the newest 199      | with the record |
| leadline:submission:{id}:attempts  | list   | JSON `Attempt`s, oldest first, the newest 200                  | with the record |
| leadline:raw:{id}                  | hash   | the raw request of several events, by the id of the first: `raw`, and a field for each submission that holds it | until the content of the last holder is erased, or that of a person in it |
| leadline:state:{state}             | zset   | ids by the time (Unix seconds) when they entered the state     | each id with its record |
| leadline:unverified                | hash   | what strangers have stored: `bytes`, `max` as the service last had it, how many were `evicted` and `refused`, and when last (`evicted_at`, `refused_at`) | for ever |
| leadline:unverified:evictable      | zset   | ids of unverified submissions that may make room, by the rank of their state, then the time they entered it | each until its content is erased |
| leadline:unverified:recount        | string | that the bytes of strangers were counted anew                  | a day |
| leadline:duplicate:{source}:{kind}:{digest} | string | `id fingerprint`                                      | `content`: the window; else 7 days after the final state |
| leadline:duplicate:{source}:key:{digest}:{fingerprint} | string | the same, for another body under a used key, acknowledged while Redis was down | 7 days after the final state |
| leadline:due                       | zset   | ids by due score: a time (Unix seconds), or a fixed rank for those that wait for the gate or for room; see `due_score` in `prelude.lua` | while they wait |
| leadline:newer                     | zset   | waiting ids of a newer version than the worker that met them knows, by version | until a newer worker takes them |
| leadline:leases                    | zset   | ids in delivery by the time (Unix seconds) when their lease ends | while delivering |
| leadline:changes                   | stream | `id` of each record that changed its state                     | about the newest 100,000 |
| leadline:pause                     | hash   | an operator's pause: reason, since, by                          | until resumed |
| leadline:duplicate_checks          | zset   | `id step#check` of repeated creates, by the time of their next check | a quarter of an hour |
| leadline:duplicates                | hash   | submission id -> JSON `{step, ids, at}` of what exists twice in Pipedrive | with the record |
| leadline:erased:{digest}           | hash   | the mark of an erased person: `before`, `by`, `submission:{id}`, `person:{id}`, `lead:{id}` | 90 days |
| leadline:erasures                  | string | that somebody was erased: what comes from a spool is searched for mentions | 90 days |
| leadline:forgotten                 | string | how many erased submissions no longer have even a receipt      | for ever |
| leadline:retention:lock            | string | that a worker process is erasing what is past its retention    | 1.5 s |
| leadline:rewrite:due               | string | that erased content may still be in Redis's file               | until the file is rewritten |
| leadline:rewrite:asked             | string | that Redis was asked to rewrite its file                       | a day |
| leadline:sweeper                   | string | which worker process sweeps                                    | 3 s, renewed each tick |
| leadline:workers                   | hash   | worker process -> JSON `{slots, pid, host, at}`                | an entry 60 s after its last heartbeat |
| leadline:rollback                  | hash   | `server`: the run of Redis that all workers agreed on; `restored_at`: older submissions are looked up first; `roll_call`, `roll_call_at`; `total`: creates ever announced; `tick_at`: the last report of any worker; `clock_jump_at`: when the clock was found to be set ahead | for ever |
| leadline:rollback:create_counts    | hash   | worker process -> how many creates it has announced            | a minute after its last report |
| leadline:rollback:processes        | zset   | worker processes by the time of their last report              | as the counts |
| leadline:rollback:missing          | set    | processes that have not reported since Redis restarted         | seconds |
| leadline:metrics                   | hash   | series name as Prometheus writes it -> number                  | for ever; some forty for each source that ever existed |
| leadline:unsafe                    | hash   | process -> JSON `worker.accept.promise_watch.BreachRecord`: what it sees breaking the promise of a 2xx | an entry 3 minutes after its last look |
| leadline:write_check               | string | nothing; writing it shows that Redis takes writes              | a minute |
| leadline:causes:ignored            | hash   | cause id -> when somebody chose to ignore it (Unix seconds)     | for ever |
| leadline:alerts                    | string | JSON `service.alerts.state`: active alerts, and when sources were last heard from | for ever |
| leadline:alerts:lock               | string | which service process checks for alerts                        | 40 s, renewed each tick |
| leadline:audit                     | stream | who did what to which submission                               | the newest 100,000 |
| leadline:audit:copy                | stream | the audit trail while an erasure writes it anew                | seconds |
| leadline:bulk:{id}                 | hash   | a bulk action: action, by, at, count, edit (encrypted), outcomes, stopped, ended_at, remaining | 7 days after its end |
| leadline:bulk:{id}:left, :out      | zset   | its ids that have not begun, in order; those on their way, by the time of the last check | until its end |
| leadline:bulks, leadline:bulks:running | zset | bulk actions by the time they were created; those that are not over yet | a week; until their end |
| leadline:bulk-claims               | hash   | submission id -> the unfinished bulk action it belongs to      | until its outcome |
| leadline:bulk-lock                 | string | who advances bulk actions                                      | 5 s, renewed each tick |
| leadline:limit:{source}:{digest}   | string | when this address's allowance is full again, and when that was written (ms) | the source's period, longer after a large batch |
| leadline:limit:{source}            | string | the same for all addresses of a source together                | as above |
| leadline:bounds:{hour}             | hash   | by hour since 1970: `{source} leads`, how many flowed from a source without verification, and `{source} {setting}`, how many that bound held back | two hours |
| leadline:refused:{source}          | list   | JSON of the newest refused requests, without bodies            | a day after the last |
| leadline:lockout:{digest}          | string | that an address tried too many wrong ops tokens                | a minute |
| leadline:known:{digest}            | string | that an ops token was used from an address                     | 30 days, renewed by use |
| leadline:session:ended:{digest}    | string | that a console session was signed out                          | as long as it would have lasted |
| rq:…                               | -      | RQ's own: the queue, its jobs and workers                      | RQ's |

Keys of one Pipedrive account (`Account`), each prefixed with `leadline:account:{name}:`:

| key                                | type   | content                                                        | lifetime |
|------------------------------------|--------|----------------------------------------------------------------|----------|
| gate                               | hash   | why Pipedrive's answers closed the gate: reason, advice, mode, since, until, probes | until it expires or a probe opens it |
| gate:probe                         | string | the one submission that was let through as the gate's probe     | 60 s |
| outage                             | zset   | ids that did not reach Pipedrive since the last delivery, by time | a day |
| person_queue:{digest}              | list   | submission ids of one person or organisation: the head may be delivered, the others wait | until it is empty |
| person:{digest}                    | hash   | `CachedPerson`: what we know of the person with an e-mail or phone | 400 days, renewed by use |
| organization:{digest}              | string | organisation id by normalised name                              | 400 days, renewed by use |
| owner_turns                        | hash   | digest of a source's owners who take turns -> turns taken       | for ever; one for each such list |
| metadata                           | hash   | labels, channels, owners, fields as JSON, with `at`            | renewed hourly |
| metadata:lock                      | string | who creates a missing label                                    | 30 s |
| attribution                        | hash   | submission id -> JSON `worker.ledger.attribution_rows.AttributionRow` of what was delivered | an entry 400 days, or until its person is erased |
| outcomes                           | hash   | submission id -> JSON `worker.pipedrive.lead_outcomes.LeadOutcome` of its lead, as last read | until the nightly read replaces it; an entry until its person is erased |
| outcomes:next                      | hash   | the same, of the read in progress                              | until that read ends |
| outcomes:state                     | hash   | JSON of the last read (`last`) and of the one in progress (`reading`); the tokens that the day's reads spent (`spent`); `collected`: until when deliveries have an entry in `attribution` | for ever |
| outcomes:lock                      | string | which process reads outcomes                                   | a minute, renewed with each page |
| drift                              | string | JSON `worker.drift.drift.DriftReport`: what the account lacks   | until the next check, hourly |
| drift:lock                         | string | that a worker process checks for drift                         | a minute |
| allowance:burst, :search           | zset   | calls in the window, `ticket:cost`, by when each has arrived at the latest | a minute |
| allowance:waiting                  | zset   | calls that wait for room, by when they must ask again          | a minute |
| allowance:day:{n}                  | string | tokens spent by our count on the n-th day since 1970            | two days |
| allowance:left                     | string | tokens left today, corrected by answers                        | until midnight UTC |
| allowance:ask                      | string | when to ask Pipedrive whether there are tokens again           | until then, and an hour more |
| allowance:limit, :closed           | string | the window that an answer stated; until when nothing may be sent | an hour; until then |
| allowance:fastest:{minute}         | string | seconds of the minute's fastest exchange                       | 3 minutes |
| oauth                              | hash   | access and refresh token, encrypted; the scopes granted        | for ever |
| oauth:lock                         | string | who refreshes                                                  | 30 s |

Digests are the first 32 hex digits of the SHA-256 of the normalised value, so that no key contains personal data.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

PREFIX = "leadline:"
RAW = PREFIX + "raw:"
DUE = PREFIX + "due"
NEWER = PREFIX + "newer"
LEASES = PREFIX + "leases"
CHANGES = PREFIX + "changes"
PAUSE = PREFIX + "pause"
DUPLICATE_CHECKS = PREFIX + "duplicate_checks"
DUPLICATES = PREFIX + "duplicates"
ERASURES = PREFIX + "erasures"
FORGOTTEN = PREFIX + "forgotten"
UNVERIFIED = PREFIX + "unverified"
EVICTABLE = UNVERIFIED + ":evictable"
UNVERIFIED_RECOUNT = UNVERIFIED + ":recount"
RETENTION_LOCK = PREFIX + "retention:lock"
REWRITE_DUE = PREFIX + "rewrite:due"
REWRITE_ASKED = PREFIX + "rewrite:asked"
SWEEPER = PREFIX + "sweeper"
WORKERS = PREFIX + "workers"
ROLLBACK = PREFIX + "rollback"
ROLLBACK_CREATE_COUNTS = PREFIX + "rollback:create_counts"
ROLLBACK_PROCESSES = PREFIX + "rollback:processes"
ROLLBACK_MISSING = PREFIX + "rollback:missing"
METRICS = PREFIX + "metrics"
UNSAFE = PREFIX + "unsafe"
WRITE_CHECK = PREFIX + "write_check"
CAUSES_IGNORED = PREFIX + "causes:ignored"
ALERTS = PREFIX + "alerts"
ALERTS_LOCK = PREFIX + "alerts:lock"
AUDIT = PREFIX + "audit"
BOUNDS = PREFIX + "bounds:"
AUDIT_COPY = PREFIX + "audit:copy"
BULK = PREFIX + "bulk:"
BULK_ACTIONS = PREFIX + "bulks"
BULK_RUNNING = PREFIX + "bulks:running"
BULK_CLAIMS = PREFIX + "bulk-claims"
BULK_LOCK = PREFIX + "bulk-lock"

# The one RQ queue; `rq info` shows it by this name.
QUEUE = "leadline"

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def digest(*parts: str) -> str:
    """A short, stable digest of a value that must not itself appear in a key."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_safe_id(text: str) -> bool:
    """Whether an id from outside may be part of a key; a safe id cannot lead to another key."""
    return _SAFE_ID.fullmatch(text) is not None


class Account(NamedTuple):
    """The keys of what belongs to one Pipedrive account."""

    name: str

    @property
    def prefix(self) -> str:
        return f"{PREFIX}account:{self.name}:"

    @property
    def gate(self) -> str:
        return self.prefix + "gate"

    @property
    def probe(self) -> str:
        return self.prefix + "gate:probe"

    @property
    def outage(self) -> str:
        return self.prefix + "outage"

    @property
    def owner_turns(self) -> str:
        return self.prefix + "owner_turns"

    @property
    def metadata(self) -> str:
        return self.prefix + "metadata"

    @property
    def metadata_lock(self) -> str:
        return self.prefix + "metadata:lock"

    @property
    def drift(self) -> str:
        return self.prefix + "drift"

    @property
    def drift_lock(self) -> str:
        return self.prefix + "drift:lock"

    @property
    def attribution(self) -> str:
        return self.prefix + "attribution"

    @property
    def outcomes(self) -> str:
        return self.prefix + "outcomes"

    @property
    def outcomes_next(self) -> str:
        return self.prefix + "outcomes:next"

    @property
    def outcomes_state(self) -> str:
        return self.prefix + "outcomes:state"

    @property
    def outcomes_lock(self) -> str:
        return self.prefix + "outcomes:lock"

    @property
    def oauth(self) -> str:
        return self.prefix + "oauth"

    @property
    def oauth_lock(self) -> str:
        return self.prefix + "oauth:lock"

    def allowance(self, part: str) -> str:
        """`part` is the last word of the table's `allowance:` rows."""
        return f"{self.prefix}allowance:{part}"

    def person_queue(self, kind: str, value: str) -> str:
        """`kind` is `email`, `phone` or `organization`; `value` is normalised."""
        return f"{self.prefix}person_queue:{digest(kind, value)}"

    def person(self, kind: str, value: str) -> str:
        """`kind` is `email` or `phone`; `value` is normalised."""
        return f"{self.prefix}person:{digest(kind, value)}"

    def organization(self, name: str) -> str:
        """`name` is normalised."""
        return f"{self.prefix}organization:{digest(name)}"


# The only account so far. Code that uses an account's keys takes an `Account`, so that adding a
# second one takes only another value.
DEFAULT_ACCOUNT = Account("default")


def submission(submission_id: str) -> str:
    return f"{PREFIX}submission:{submission_id}"


def timeline(submission_id: str) -> str:
    return f"{PREFIX}submission:{submission_id}:timeline"


def attempts(submission_id: str) -> str:
    return f"{PREFIX}submission:{submission_id}:attempts"


def raw(submission_id: str) -> str:
    """`submission_id` is that of the first event of the request."""
    return f"{RAW}{submission_id}"


def state(name: str) -> str:
    return f"{PREFIX}state:{name}"


# Keys that hold nothing but ids, numbers and digests, by their beginnings.
IDS_ONLY = (
    state(""), PREFIX + "duplicate:", PREFIX + "limit:", PREFIX + "lockout:", PREFIX + "known:",
    PREFIX + "session:", PREFIX + "erased:", DUE, NEWER, LEASES, CHANGES, DUPLICATE_CHECKS,
)  # fmt: skip


def duplicate(source: str, kind: str, value: str) -> str:
    return f"{PREFIX}duplicate:{source}:{kind}:{value}"


def erased(kind: str, value: str) -> str:
    """`kind` is `email`, `phone` or `id`; `value` is normalised."""
    return f"{PREFIX}erased:{digest(kind, value)}"


def rate_limit(source: str, address: str) -> str:
    return f"{PREFIX}limit:{source}:{digest(address)}"


def rate_limit_source(source: str) -> str:
    return f"{PREFIX}limit:{source}"


def bounds(hour: int) -> str:
    """`hour` is counted since 1970."""
    return f"{BOUNDS}{hour}"


def refusals(source: str) -> str:
    return f"{PREFIX}refused:{source}"


def lockout(address: str) -> str:
    return f"{PREFIX}lockout:{digest(address)}"


def known_address(address: str, owner: str) -> str:
    return f"{PREFIX}known:{digest(address, owner)}"


def session_ended(nonce: str) -> str:
    return f"{PREFIX}session:ended:{digest(nonce)}"
