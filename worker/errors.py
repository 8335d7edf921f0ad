"""Every error of the engine, and what people are told about it. `worker.fate` decides the rest.

LeadlineError
├── StoreUnavailable          Redis cannot take or return a record now
├── LeaseLost                 another worker owns this submission now
├── NotAllowed                the state of the submission does not allow this move
│   └── Overtaken             somebody else changed the submission since it was read
├── OutOfAllowance            by our own count the next call would exceed Pipedrive's limits
│   └── Reserved              the rest of the day's tokens is for sources that verify their senders
├── CannotDecrypt             the stored content cannot be decrypted here
├── Settling                  a create with unknown outcome must settle before we look for it
│   └── Restored              Redis has gone back in time; we look later for what was done since
├── Absent                    we looked for a create with unknown outcome: it made nothing
├── Gated                     since this delivery began, another one closed the gate for all
├── Unmappable                the lead cannot be written as the source file says
│   └── UnknownName           a label, channel, owner or custom field that the account lacks
├── FetchError                the record behind an event that contains only ids was not fetched
│   ├── FetchFailed           no answer, a time-out, 5xx or rubbish
│   ├── FetchNotAllowed       the address is not public, or plain http
│   ├── FetchLimited          the provider takes no more calls for the moment
│   ├── FetchRefused          the token is rejected
│   │   └── FetchForbidden    the token may not read this
│   └── RecordGone            the provider no longer has the record
└── PipedriveError            an answer, or the lack of one
    ├── NotSent               the request certainly never reached Pipedrive
    ├── OutcomeUnknown        a create was sent and no usable answer came back
    ├── Unavailable           time-out, reset, 408, 5xx or rubbish on a call that is safe to repeat
    │   └── TooLarge          the response is larger than we read
    ├── RateLimited           429 that passes by itself
    │   └── BudgetSpent       429 that lasts until the daily tokens reset
    ├── Unauthorized          401: the API token is rejected
    │   ├── ClientRejected    OAuth: the client id or secret is rejected
    │   └── Reauthorise       OAuth: the app's tokens are rejected; a person must connect it again
    ├── Blocked               403 as an HTML page: traffic is blocked before it reaches the API
    ├── AccountFault          the account or the address is at fault, and no lead is
    │   ├── AccountClosed     402: the trial is over, or nobody has entered how to pay
    │   ├── FeatureOff        415: the account's plan lacks a feature
    │   ├── WrongAddress      the answer is not one of Pipedrive's API
    │   │   └── WrongTokenAddress  OAuth: the same at the URL that issues access tokens
    │   └── EndpointGone      404, 405, 410: Pipedrive no longer has the call
    └── Refused               the request is understood and will never be accepted as it is
        ├── Invalid           400, 422 and other 4xx: a value is wrong
        ├── Forbidden         403 as JSON: a plan limit or a missing permission
        └── Gone              404, 410: the record we addressed was merged or deleted
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class LeadlineError(Exception):
    """Base of every error raised on purpose; a subclass inherits each fact it does not state.

    `code` is stored, counted and never changes. `title` names the failure and `hint` says what to
    do about the submission; `worker.causes` fills both in, and they name no person. `advice` is the
    next step after a command failed with this error, `variable` the environment variable to check
    then. `transient`: the error says nothing about the account or the settings.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "It failed while {doing}"
    hint: ClassVar[str] = "see the worker's log for this submission's id, then retry"
    advice: ClassVar[str] = "try again"
    variable: ClassVar[str | None] = None
    transient: ClassVar[bool] = False


class StoreUnavailable(LeadlineError):
    """Redis refused, timed out or is down; nothing is known to be stored."""

    code = "store-unavailable"
    title = "Redis was down while {doing}"
    hint = "nothing to do: delivery continues once Redis answers"
    advice = "is Redis running at the address in REDIS_URL?"
    variable = "REDIS_URL"
    transient = True


class LeaseLost(LeadlineError):
    """The lease expired and another worker may hold the submission: create nothing more."""

    code = "lease-lost"
    title = "Another worker took it over"


class NotAllowed(LeadlineError):
    """The submission is in a state that does not allow the requested move."""

    code = "not-allowed"
    title = "Its state did not allow the step"

    def __init__(self, submission_id: str, state: str | None, action: str) -> None:
        super().__init__(f"{submission_id} is {state or 'unknown'}: cannot {action}")
        self.submission_id = submission_id
        self.state = state
        self.action = action


class Overtaken(NotAllowed):
    """The submission changed after it was read: read it again."""

    code = "overtaken"
    title = "Somebody changed it in the meantime"


class CannotDecrypt(LeadlineError):
    """The stored content is encrypted under a key that this process lacks, or is damaged."""

    code = "cannot-decrypt"
    title = "Its content cannot be decrypted with the configured keys"
    hint = (
        "add the key it was encrypted under to LEADLINE_ENCRYPTION_KEYS and restart the workers,"
        " then retry"
    )


class Settling(LeadlineError):
    """The outcome of an announced create is unknown; look for it at `until` (Unix seconds)."""

    code = "settling"
    title = "Waiting before we check whether it was created"
    hint = "nothing to do: we look for what was sent before anything is sent again"

    def __init__(self, step: str, until: float) -> None:
        super().__init__(
            f"it is unknown whether the {step} arrived; we check before sending it again"
        )
        self.step = step
        self.until = until


class Restored(Settling):
    """Redis has gone back in time and this may be delivered already; look at `until`."""

    code = "restored"
    title = "Redis was set back: waiting before we check what was delivered"
    hint = (
        "nothing to do: Redis was set back, and we look for what was delivered since before"
        " anything is sent again"
    )


class Absent(LeadlineError):
    """The create announced at `since` (Unix seconds) made nothing; it may not be repeated now."""

    code = "absent"
    title = "The request never reached Pipedrive"
    hint = "retry it: we looked for what was sent, and it is not in Pipedrive"

    def __init__(self, step: str, since: float) -> None:
        super().__init__(f"the {step} was sent without an answer and is not in Pipedrive")
        self.step = step
        self.since = since


class Gated(LeadlineError):
    """Not sent: the gate has closed for `reason` in the meantime, until `until` (Unix seconds)."""

    code = "gated"
    title = "Delivery is waiting for Pipedrive"
    hint = (
        "nothing to do: it continues when Pipedrive takes calls again; the submission that closed"
        " the gate says why it did"
    )

    def __init__(self, until: float, reason: str) -> None:
        super().__init__(f"delivery is waiting: {reason}")
        self.until = until
        self.reason = reason


class OutOfAllowance(LeadlineError):
    """Not sent: it may go at `until` (Unix seconds). `budget`: today's tokens are used up."""

    code = "out-of-allowance"
    title = "The calls that Pipedrive allows are used up"
    hint = (
        "nothing to do: it continues when Pipedrive's limits allow, as PIPEDRIVE_PLAN and"
        " PIPEDRIVE_SEATS state them"
    )
    advice = (
        "try again when the workers leave room: PIPEDRIVE_PLAN and PIPEDRIVE_SEATS say how much"
        " there is"
    )
    transient = True

    def __init__(self, until: float, *, budget: bool) -> None:
        super().__init__("today's API tokens are used up" if budget else "the burst window is full")
        self.until = until
        self.budget = budget


class Reserved(OutOfAllowance):
    """Not sent: what is left of the day's tokens is reserved; ask again at `until`."""

    code = "reserved"
    title = "The rest of today's API tokens is for verified sources"
    hint = (
        "nothing to do: it continues when the day's API tokens reset; to deliver it now, verify the"
        " senders of its source, or raise PIPEDRIVE_SEATS or PIPEDRIVE_DAILY_TOKENS"
    )

    def __init__(self, until: float) -> None:
        super().__init__(until, budget=True)
        self.args = ("the rest of today's API tokens is for sources that verify their senders",)


class Unmappable(LeadlineError):
    """The lead cannot be written as the source file says. `setting` names what to correct."""

    code = "unmappable"
    title = "The source file's rule for {subject} cannot be applied"
    hint = "correct {place}, then retry"
    advice = "correct the name, or add it in Pipedrive"

    def __init__(self, message: str, *, setting: str, field: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.field = field


class UnknownName(Unmappable):
    """A name in the source file that the Pipedrive account lacks, or has `deactivated`."""

    code = "unknown-name"
    title = "Pipedrive is missing a {kind} that the source file uses"

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        setting: str,
        available: list[str],
        partial: bool = False,
        deactivated: bool = False,
    ) -> None:
        """`partial`: the credentials may not list all names of this kind, so it may well exist."""
        names = ", ".join(sorted(available)[:12]) or "none"
        message = (
            f"the {kind} {name!r} is deactivated (active: {names})"
            if deactivated
            else f"the credentials may not list every {kind}, and {name!r} is not listed (only:"
            f" {names})"
            if partial
            else f"the account has no {kind} {name!r} (it has: {names})"
        )
        super().__init__(message, setting=setting, field=kind)
        self.kind = kind
        self.name = name
        self.available = available
        self.partial = partial


class FetchError(LeadlineError):
    """The provider rejected the request. `setting` is what to correct, `status` the HTTP status."""

    code = "fetch"
    title = "Couldn't fetch the full lead from the provider"
    hint = "correct {place} or what the provider complains about, then retry"

    def __init__(self, detail: str, *, setting: str, status: int | None = None) -> None:
        super().__init__(detail[:500])
        self.setting = setting
        self.status = status


class FetchFailed(FetchError):
    """No usable answer; the provider may well answer next time."""

    code = "fetch-failed"
    title = "The provider didn't respond when asked for the full lead"
    hint = (
        "check that the provider's API is up and that {place} is right; once it answers again,"
        " retry"
    )


class FetchNotAllowed(FetchError):
    """Nothing was sent: the URL is plain http, or its host has no public address."""

    code = "fetch-not-allowed"
    title = "The address to fetch the full lead from isn't a public https address"
    hint = (
        "set {place} to an https URL whose host resolves to a public address, then retry; where a"
        " private one is meant, set LEADLINE_ALLOW_PRIVATE_URLS=yes and restart the workers"
    )


class FetchLimited(FetchError):
    """429, or the provider's equivalent: this record waits `retry_after` seconds."""

    code = "fetch-limited"
    title = "The provider is limiting our calls"
    hint = "nothing to do: the record is fetched once the provider takes calls again"

    def __init__(
        self, detail: str, *, setting: str, status: int | None = None, retry_after: float
    ) -> None:
        super().__init__(detail, setting=setting, status=status)
        self.retry_after = retry_after


class FetchRefused(FetchError):
    """401: the token is wrong, has expired or was revoked."""

    code = "fetch-refused"
    title = "The provider rejected the token"
    hint = "put a valid token into the variable that {place} names, restart the workers, then retry"


class FetchForbidden(FetchRefused):
    """403: the token is valid but lacks a permission."""

    code = "fetch-forbidden"
    title = "The token lacks permission to read the lead at the provider"
    hint = (
        "give the token of {place} permission to read leads or contacts at the provider, then retry"
    )


class RecordGone(FetchError):
    """404 or 410: deleted since the event, or never visible to this token."""

    code = "record-gone"
    title = "The provider has deleted this record"
    hint = (
        "the provider has deleted the record or hides it from the token: discard it, or retry with"
        " another token"
    )


class PipedriveError(LeadlineError):
    """Pipedrive answered with an error, or not at all.

    `call` is the operation's name (`leads.add`), `status` the HTTP status or None, `detail`
    Pipedrive's own message (at most 500 characters), `field` the field it complains about, if any.
    `sent_ids` maps the request's fields to the ids in them; fields that hold none map to None.
    `foreign`: the answer is not of the form of Pipedrive's API.
    """

    code = "pipedrive"
    title = "Pipedrive answered with an error while {doing}"
    hint = "see status.pipedrive.com, then retry"

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
        self.sent_ids: Mapping[str, int | str | None] = {}
        self.foreign = False


class NotSent(PipedriveError):
    """DNS, refused connection or TLS: any call can safely be repeated."""

    code = "not-sent"
    title = "Couldn't reach Pipedrive while {doing}"
    hint = (
        "check that this machine reaches PIPEDRIVE_BASE_URL (name, proxy, certificates), then retry"
    )
    advice = "check that this machine reaches PIPEDRIVE_BASE_URL (name, proxy, certificates)"
    variable = "PIPEDRIVE_BASE_URL"


class OutcomeUnknown(PipedriveError):
    """A create was sent and may have happened: look for it before repeating it."""

    code = "outcome-unknown"
    title = "No answer while {doing}: it may exist in Pipedrive"
    hint = "retry: we ask Pipedrive whether the create happened before it is sent again"
    advice = "it may have happened: look before you repeat it"


class Unavailable(PipedriveError):
    """Pipedrive gave no usable answer to a call that is safe to repeat."""

    code = "unavailable"
    title = "Pipedrive didn't respond while {doing}"
    hint = "see status.pipedrive.com; once Pipedrive answers again, retry"
    advice = "see status.pipedrive.com and PIPEDRIVE_BASE_URL, and try again"
    variable = "PIPEDRIVE_BASE_URL"


class TooLarge(Unavailable):
    """The response is larger than we read; a list may be read in smaller pages."""

    code = "too-large"
    title = "Pipedrive's answer was too large while {doing}"
    hint = "retry; if it goes on, see status.pipedrive.com"


class RateLimited(PipedriveError):
    """429: every delivery waits `retry_after` seconds. `stated`: Pipedrive named that time."""

    code = "rate-limited"
    title = "Pipedrive is limiting our calls"
    hint = "nothing to do: every delivery waits until Pipedrive takes calls again"
    advice = "wait a moment and try again"
    transient = True

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
    """Today's API tokens are used up: every delivery waits until they reset."""

    code = "budget-spent"
    title = "Today's Pipedrive API tokens are used up"
    hint = (
        "nothing to do: delivery resumes when the day's API tokens reset; more seats or a larger"
        " plan give more tokens"
    )
    advice = "try again when the day's API tokens reset"


class Unauthorized(PipedriveError):
    """401: the API token is rejected."""

    code = "unauthorized"
    title = "Pipedrive rejected the credentials"
    hint = (
        "set a valid PIPEDRIVE_API_TOKEN and restart the workers; delivery then resumes by itself"
    )
    advice = "set a valid PIPEDRIVE_API_TOKEN"
    variable = "PIPEDRIVE_API_TOKEN"


class ClientRejected(Unauthorized):
    """OAuth: Pipedrive issues no tokens to this client id and secret."""

    code = "client-rejected"
    title = "Pipedrive rejected the app's client id or secret"
    hint = (
        "set the app's PIPEDRIVE_CLIENT_ID and PIPEDRIVE_CLIENT_SECRET and restart the workers;"
        " delivery then resumes by itself"
    )
    advice = "set the app's PIPEDRIVE_CLIENT_ID and PIPEDRIVE_CLIENT_SECRET"
    variable = "PIPEDRIVE_CLIENT_SECRET"


class Reauthorise(Unauthorized):
    """OAuth: the app's tokens are rejected; only a person can connect the app again."""

    code = "reauthorise"
    title = "The Pipedrive app must be connected again"
    hint = (
        "connect the app again and set the new PIPEDRIVE_REFRESH_TOKEN; delivery then resumes by"
        " itself"
    )
    advice = "connect the app again and set the new PIPEDRIVE_REFRESH_TOKEN"
    variable = "PIPEDRIVE_REFRESH_TOKEN"


class Blocked(PipedriveError):
    """403 with an HTML page: calls went on in spite of 429, so the token is blocked for a while."""

    code = "blocked"
    title = "Pipedrive is blocking this account's calls"
    hint = (
        "stop other programs that exceed this Pipedrive account's limits; delivery is tried again"
        " by itself"
    )
    advice = "stop whatever exceeds Pipedrive's limits, and try again later"
    transient = True


class AccountFault(PipedriveError):
    """Pipedrive takes none of these calls, whatever the lead; `reason` is why the gate closes."""

    code = "account-fault"
    title = "Pipedrive takes no calls"
    hint = "nothing to do about the lead: delivery resumes by itself once Pipedrive takes calls"
    advice = "see the account's status in Pipedrive"
    reason: ClassVar[str] = "account"


class AccountClosed(AccountFault):
    """402: "Company account is not open": trial expired, or payment details not entered."""

    code = "account-closed"
    title = "The Pipedrive account isn't open"
    hint = (
        "open the account in Pipedrive (Settings, Billing): its trial is over, or a payment is"
        " missing; delivery then resumes by itself"
    )
    advice = "open the account in Pipedrive (Settings, Billing): its trial or payment has run out"


class FeatureOff(AccountFault):
    """415: "Feature is not enabled"."""

    code = "feature-off"
    title = "The Pipedrive account lacks a feature, needed while {doing}"
    hint = (
        "enable the feature (such as leads) in the Pipedrive account, or choose a plan that has it;"
        " delivery then resumes by itself"
    )
    advice = "enable the feature in the Pipedrive account, or choose a plan that has it"
    reason = "plan"


class WrongAddress(AccountFault):
    """A page, or JSON of another kind, from a host that is not Pipedrive's API."""

    code = "wrong-address"
    title = "What answers at PIPEDRIVE_BASE_URL isn't Pipedrive's API"
    hint = (
        "set PIPEDRIVE_BASE_URL to https://api.pipedrive.com or the company's own address, check"
        " the proxy in between, and restart the workers; delivery then resumes by itself"
    )
    advice = "set PIPEDRIVE_BASE_URL to https://api.pipedrive.com or the company's own address"
    variable = "PIPEDRIVE_BASE_URL"
    reason = "address"


class WrongTokenAddress(WrongAddress):
    """OAuth: the same at the URL that issues access tokens."""

    code = "wrong-token-address"
    title = "What answers at PIPEDRIVE_OAUTH_URL doesn't issue Pipedrive's tokens"
    hint = (
        "set PIPEDRIVE_OAUTH_URL to https://oauth.pipedrive.com/oauth/token, check the proxy in"
        " between, and restart the workers; delivery then resumes by itself"
    )
    advice = "set PIPEDRIVE_OAUTH_URL to https://oauth.pipedrive.com/oauth/token"
    variable = "PIPEDRIVE_OAUTH_URL"


class EndpointGone(AccountFault):
    """404, 405 or 410 that speaks of the call and of no record."""

    code = "endpoint-gone"
    title = "Pipedrive no longer has the call made while {doing}"
    hint = (
        "update Leadline: this version makes a call that Pipedrive has removed; delivery then"
        " resumes by itself"
    )
    advice = "update Leadline, and check PIPEDRIVE_BASE_URL"
    reason = "version"


class Refused(PipedriveError):
    """Pipedrive rejected the request and would reject it again."""

    code = "refused"
    title = "Pipedrive rejected {subject}"
    hint = "correct what Pipedrive complains about, then retry"


class Invalid(Refused):
    """400, 422 and the like."""

    code = "invalid"
    hint = "correct {place} or edit the lead, then retry"
    advice = "correct what Pipedrive complains about"


class Forbidden(Refused):
    """403 as JSON: a limit of the plan, a visibility that the plan lacks, a permission, a scope.

    `scope` is the OAuth scope that the call needs, if Pipedrive says that the app lacks it.
    """

    code = "forbidden"
    title = "Pipedrive denied permission to {act}"
    hint = (
        "give the API user the permission in Pipedrive, or use the token of a user who has it, then"
        " retry"
    )
    advice = "use credentials that have the permission or the scope, or a larger plan"

    def __init__(
        self,
        call: str,
        detail: str,
        *,
        status: int | None = None,
        vendor_code: str | None = None,
        field: str | None = None,
        scope: str | None = None,
    ) -> None:
        super().__init__(call, detail, status=status, vendor_code=vendor_code, field=field)
        self.scope = scope


class Gone(Refused):
    """404 or 410 for a record: merged or deleted since we learned its id."""

    code = "gone"
    title = "A record that the lead needs was deleted or merged in Pipedrive"
    hint = "restore it in Pipedrive or retry: what was refused is then looked up again"
    advice = "compare the id with a list: the record may be deleted or merged"
