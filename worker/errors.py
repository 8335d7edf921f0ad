"""Every error the engine knows. What becomes of each is decided in one place: `worker.fate`.

LeadlineError
├── StoreUnavailable          Redis cannot take or give a record now
├── LeaseLost                 another worker owns this submission now
├── NotAllowed                the state of the submission does not allow this move
│   └── Overtaken             somebody else changed the submission since it was read
├── OutOfAllowance            our own count says that the next call would pass Pipedrive's limits
├── Sealed                    the stored content cannot be opened here
├── Settling                  a create with unknown outcome must settle before it is looked for
│   └── Restored              Redis has gone back in time: what was done since settles before it is looked for
├── Absent                    a create with unknown outcome was looked for, and made nothing
├── Gated                     another delivery has met what stops all of them since this one began
├── Unmappable                the lead cannot be written as the source file says
│   └── UnknownName           a label, channel, owner or custom field the account does not have
├── FetchError                the record of an event that told ids alone could not be read from its product
│   ├── FetchFailed           no answer, a time-out, 5xx or rubbish
│   ├── FetchLimited          the product takes no more calls for the moment
│   ├── FetchRefused          the token is refused
│   │   └── FetchForbidden    the token may not read this
│   └── RecordGone            the product has no such record any more
└── PipedriveError            an answer, or the lack of one
    ├── NotSent               the request certainly never reached Pipedrive
    ├── OutcomeUnknown        a create was sent and no usable answer came back
    ├── Unavailable           time-out, reset, 408, 5xx or rubbish on a call that is safe to repeat
    ├── RateLimited           429 that passes by itself
    │   └── BudgetSpent       429 that lasts until the daily tokens reset
    ├── Unauthorized          401: the credentials are refused
    │   └── Reauthorise       the refresh token is refused: a person must connect the app again
    ├── Blocked               403 as an HTML page: traffic is blocked before it reaches the API
    └── Refused               the request is understood and will never be accepted as it is
        ├── Invalid           400, 422 and other 4xx: a value is wrong
        ├── Forbidden         403 as JSON: a plan limit or a missing permission
        └── Gone              404, 410: the thing we addressed is merged or deleted
"""

from __future__ import annotations

from typing import ClassVar


class LeadlineError(Exception):
    """Base of every error raised on purpose."""

    code: ClassVar[str] = "error"


class StoreUnavailable(LeadlineError):
    """Redis refused, timed out or is away; nothing is known to be stored."""

    code = "store-unavailable"


class LeaseLost(LeadlineError):
    """The lease ran out and another worker may hold the submission; this one must not create
    anything more.
    """

    code = "lease-lost"


class NotAllowed(LeadlineError):
    """The submission is in a state that does not allow the move asked for."""

    code = "not-allowed"

    def __init__(self, submission_id: str, state: str | None, action: str) -> None:
        super().__init__(f"{submission_id} is {state or 'unknown'}: cannot {action}")
        self.submission_id = submission_id
        self.state = state
        self.action = action


class Overtaken(NotAllowed):
    """The submission changed between the look at it and the move: look again."""

    code = "overtaken"


class CannotDecrypt(LeadlineError):
    """What was stored of the submission was sealed under a key that this process does not have, or
    is damaged.
    """

    code = "sealed"


class Settling(LeadlineError):
    """A create was announced and its outcome is unknown; look again at `until` (Unix seconds)."""

    code = "settling"

    def __init__(self, step: str, until: float) -> None:
        super().__init__(f"the outcome of {step} is unknown; it settles first")
        self.step = step
        self.until = until


class Restored(Settling):
    """Redis has gone back in time, so this may have been delivered already; look for it at `until`
    (Unix seconds).
    """

    code = "restored"


class Absent(LeadlineError):
    """The create that was announced at `since` (Unix seconds) has settled and made nothing; the
    next try is not due yet, or was the last.
    """

    code = "absent"

    def __init__(self, step: str, since: float) -> None:
        super().__init__(f"the {step} was sent without an answer and is not in Pipedrive")
        self.step = step
        self.since = since


class Gated(LeadlineError):
    """The call was not sent: the gate was closed for `reason` since the delivery began; it is tried
    at `until` (Unix seconds).
    """

    code = "gated"

    def __init__(self, until: float, reason: str) -> None:
        super().__init__(f"delivery waits: {reason}")
        self.until = until
        self.reason = reason


class OutOfAllowance(LeadlineError):
    """The call was not sent: it may go at `until` (Unix seconds). `budget` is True when it is the
    day's tokens that are spent.
    """

    code = "out-of-allowance"

    def __init__(self, until: float, *, budget: bool) -> None:
        super().__init__("the day's API tokens are spent" if budget else "the burst window is full")
        self.until = until
        self.budget = budget


class Unmappable(LeadlineError):
    """The lead cannot be written as the source file says. `setting` names what to mend."""

    code = "unmappable"

    def __init__(self, message: str, *, setting: str, field: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.field = field


class UnknownName(Unmappable):
    """A name in the source file that the Pipedrive account does not have."""

    code = "unknown-name"

    def __init__(self, kind: str, name: str, *, setting: str, known: list[str]) -> None:
        has = ", ".join(sorted(known)[:12]) or "none"
        super().__init__(
            f"the account has no {kind} {name!r} (it has: {has})", setting=setting, field=kind
        )
        self.kind = kind
        self.name = name
        self.known = known


class FetchError(LeadlineError):
    """The product understood the question and does not answer it. `setting` names what to mend,
    `status` is HTTP's.
    """

    code = "fetch"

    def __init__(self, detail: str, *, setting: str, status: int | None = None) -> None:
        super().__init__(detail[:500])
        self.setting = setting
        self.status = status


class FetchFailed(FetchError):
    """It may well answer the next time."""

    code = "fetch-failed"


class FetchLimited(FetchError):
    """429 or what the product says instead: this record waits `retry_after` seconds."""

    code = "fetch-limited"

    def __init__(
        self, detail: str, *, setting: str, status: int | None = None, retry_after: float
    ) -> None:
        super().__init__(detail, setting=setting, status=status)
        self.retry_after = retry_after


class FetchRefused(FetchError):
    """401: the token is wrong, has expired or was taken back."""

    code = "fetch-refused"


class FetchForbidden(FetchRefused):
    """403: the token is good, and lacks a permission."""

    code = "fetch-forbidden"


class RecordGone(FetchError):
    """404 or 410: deleted since the event, or never there for this token."""

    code = "record-gone"


class PipedriveError(LeadlineError):
    """An answer of Pipedrive that is no success, or no answer at all.

    `call` is the operation's name (`leads.add`), `status` the HTTP status or None, `detail`
    Pipedrive's own words, bounded to 500 characters, `field` the field it complains of where it
    says so.
    """

    code = "pipedrive"

    def __init__(
        self,
        call: str,
        detail: str,
        *,
        status: int | None = None,
        vendor_code: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(f"{call}: {detail}" if status is None else f"{call}: {status} {detail}")
        self.call = call
        self.detail = detail[:500]
        self.status = status
        self.vendor_code = vendor_code
        self.field = field


class NotSent(PipedriveError):
    """DNS, refused connection or TLS: repeating is safe, whatever the call was."""

    code = "not-sent"


class OutcomeUnknown(PipedriveError):
    """A create was sent; it may or may not have happened. Never repeated before it was looked
    for.
    """

    code = "outcome-unknown"


class Unavailable(PipedriveError):
    """Pipedrive did not do its part on a call that is safe to repeat."""

    code = "unavailable"


class RateLimited(PipedriveError):
    """429: everybody waits `retry_after` seconds. `stated` is False where Pipedrive named no time
    and it is our guess.
    """

    code = "rate-limited"

    def __init__(
        self,
        call: str,
        detail: str,
        *,
        retry_after: float,
        status: int | None = 429,
        stated: bool = True,
    ) -> None:
        super().__init__(call, detail, status=status)
        self.retry_after = retry_after
        self.stated = stated


class BudgetSpent(RateLimited):
    """The day's API tokens are gone: everybody waits until they reset."""

    code = "budget-spent"


class Unauthorized(PipedriveError):
    """401: the API token or access token is refused."""

    code = "unauthorized"


class Reauthorise(Unauthorized):
    """OAuth: the refresh token is refused; only a person can connect the app again."""

    code = "reauthorise"


class Blocked(PipedriveError):
    """403 with an HTML page: calls went on in spite of 429 and the token is blocked for a while."""

    code = "blocked"


class Refused(PipedriveError):
    """The same request would be refused again."""

    code = "refused"


class Invalid(Refused):
    """400, 415, 422 and the like."""

    code = "invalid"


class Forbidden(Refused):
    """403 as JSON: `vendor_code` tells a plan limit (`feature_capping_…`) from a permission."""

    code = "forbidden"


class Gone(Refused):
    """404 or 410: merged or deleted since we learned its id."""

    code = "gone"
