"""One example of every call of `/ops/api` for its documentation, by operation id.

Requests and answers are values of the structs that handlers take and return, so that the type
checker keeps them right; `/docs` shows them, and a test checks them against the schemas.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from service.attribution import CampaignItem, OutcomeCounts
from service.ops.activity import Activity, SourceHours
from service.ops.api.actions import (
    BulkBody,
    BulkFilter,
    BulkStarted,
    CauseChange,
    DiscardBody,
    EditBody,
    EraseBody,
    NoBody,
    PauseBody,
    PauseStatus,
    StateChange,
)
from service.ops.dry_run import AccountDrift, DriftItem, DryRunResult
from service.ops.schemas import (
    AuditRow,
    BulkStatus,
    CampaignReport,
    CauseCard,
    DeliveryStep,
    Detail,
    Item,
    Overview,
    Page,
    RawRequest,
    TimelineEntry,
)
from service.overview import Paused, Tokens
from worker.contract import State
from worker.delivery.planned_steps import PlannedStep
from worker.erasure.erasure import Erasure


class OperationExample(Struct, frozen=True):
    """`answer` is text where the operation answers no JSON; `body` is None where it takes none."""

    answer: Any
    body: Any = None


SUBMISSION_ID = "01K9ZJ4M7T3B8XQ2V6N5R0C1DF"
BULK_ID = "01K9ZJ8Y2WQ4G7H5K3M6P9S0TA"
CAUSE_ID = "5b2f0c9d41e7a386"
RECEIVED_AT = "2026-03-02T09:41:07Z"
UPDATED_AT = "2026-03-02T09:41:12Z"

CAMPAIGN = CampaignItem(
    source="contact",
    campaign="spring",
    channel="Paid search",
    received=212,
    delivered=200,
    with_channel=212,
    with_utm=205,
    with_click_id=180,
    with_first_touch=0,
    outcomes=OutcomeCounts(
        open=120, archived=12, converted=60, won=20, lost=15, won_value={"EUR": 48_500.0}
    ),
)
CAUSE = CauseCard(
    id=CAUSE_ID,
    title="Pipedrive refuses the field “title” at the lead",
    hint="Shorten the title in the source file.",
    step="lead",
    code="invalid",
    field="title",
    count=3,
    sources=["contact"],
    first_seen=RECEIVED_AT,
    last_seen=UPDATED_AT,
    ignored=False,
    setting="sources.contact.lead.title",
    trend=[0] * 23 + [3],
    detail="the title is too long",
)
ITEM = Item(
    id=SUBMISSION_ID,
    source="contact",
    state=State.DEAD,
    result=None,
    who="A… L… · Analytical Engines",
    campaign="spring",
    attempts=1,
    received_at=RECEIVED_AT,
    updated_at=UPDATED_AT,
    next_at=None,
    channel="Web forms",
    cause_title=CAUSE.title,
    cause=CAUSE_ID,
)
DETAIL = Detail(
    id=SUBMISSION_ID,
    source="contact",
    state=State.DEAD,
    result=None,
    who=ITEM.who,
    campaign="spring",
    attempts=1,
    received_at=RECEIVED_AT,
    updated_at=UPDATED_AT,
    next_at=None,
    channel="Web forms",
    cause_title=CAUSE.title,
    cause=CAUSE,
    lead={
        "name": "A… L…",
        "email": "a…@example.com",
        "company": "Analytical Engines",
        "utm": {"campaign": "spring"},
    },
    raw=RawRequest(
        content_type="application/x-www-form-urlencoded",
        headers=[("content-type", "application/x-www-form-urlencoded"), ("user-agent", "…")],
        body_base64="",
        size=61,
        withheld=True,
    ),
    deliveries=[
        DeliveryStep(UPDATED_AT, "lead", "dead", 400, "the title is too long", 212),
    ],
    timeline=[
        TimelineEntry(RECEIVED_AT, State.QUEUED, "intake", None),
        TimelineEntry(UPDATED_AT, State.DEAD, "worker", "the title is too long"),
    ],
    attribution={
        "rule": None,
        "channel": {
            "value": "Web forms",
            "set_by": "source",
            "setting": "sources.contact.lead.channel",
        },
    },
    person_id=411,
    organization_id=None,
    lead_id=None,
    note_id=None,
    revealed=False,
)
DRY_RUN = DryRunResult(
    id=SUBMISSION_ID,
    would="deliver",
    steps=[
        PlannedStep("person", "search", "look for the person by e-mail", 20),
        PlannedStep("lead", "create", "create the lead", 10, "/v1/leads"),
    ],
    problems=[],
    left_out=[],
    tokens=35,
    title=None,
    labels=["Website"],
    channel="Web forms",
    channel_id="spring",
    owner="Olga",
    names_read_at=RECEIVED_AT,
    revealed=False,
)
BULK = BulkStatus(
    id=BULK_ID,
    action="retry",
    count=3,
    left=1,
    delivered=2,
    dead=0,
    stopped=None,
    by="olga",
    at=UPDATED_AT,
)
EDIT = {"email": "ada@example.com", "utm_campaign": "spring"}
NO_BODY = NoBody()

EXAMPLES: dict[str, OperationExample] = {
    "overview": OperationExample(
        Overview(
            {"queued": 2, "delivered": 118, "dead": 3},
            {"queued": 1, "dead": 5400},
            1,
            None,
            [],
            Tokens(29_400, 840),
            1,
            0,
            0,
            UPDATED_AT,
        )
    ),
    "causes": OperationExample(Page([CAUSE], None, 1)),
    "chart": OperationExample(
        Activity(
            ["2026-03-02T08:00:00Z", "2026-03-02T09:00:00Z"],
            [SourceHours("contact", [4, 2], [4, 1], RECEIVED_AT, False)],
            6,
            5,
            UPDATED_AT,
        )
    ),
    "submissions": OperationExample(Page([ITEM], None, 1)),
    "submission": OperationExample(DETAIL),
    "attribution": OperationExample(CampaignReport([CAMPAIGN], None, 1, UPDATED_AT, 110)),
    "dry-run": OperationExample(DRY_RUN),
    "dry-run-edited": OperationExample(DRY_RUN, EditBody(EDIT)),
    "drift": OperationExample(
        AccountDrift(
            UPDATED_AT,
            [
                DriftItem(
                    "label",
                    "Websit",
                    "no label 'Websit'",
                    True,
                    ["sources.contact.lead.labels"],
                    ["contact"],
                    ["Website"],
                )
            ],
        )
    ),
    "export-csv": OperationExample(f"id,source,state\r\n{SUBMISSION_ID},contact,dead\r\n"),
    "export-jsonl": OperationExample(
        f'{{"id":"{SUBMISSION_ID}","source":"contact","state":"dead","lead":null}}\n'
    ),
    "bulks": OperationExample(Page([BULK], None, 1)),
    "bulk-progress": OperationExample(BULK),
    "audit": OperationExample(
        Page([AuditRow(UPDATED_AT, "olga", "retry", SUBMISSION_ID, "edited: email")], None, 1)
    ),
    "retry": OperationExample(StateChange(SUBMISSION_ID, State.QUEUED), EditBody(EDIT)),
    "accept": OperationExample(StateChange(SUBMISSION_ID, State.QUEUED), NO_BODY),
    "discard": OperationExample(
        StateChange(SUBMISSION_ID, State.DISCARDED), DiscardBody("a test of ours")
    ),
    "undo": OperationExample(StateChange(SUBMISSION_ID, State.DEAD), NO_BODY),
    "cause-ignore": OperationExample(CauseChange(CAUSE_ID, True), NO_BODY),
    "cause-reopen": OperationExample(CauseChange(CAUSE_ID, False), NO_BODY),
    "pause": OperationExample(
        PauseStatus(Paused("the CRM is being tidied", UPDATED_AT, None)),
        PauseBody("the CRM is being tidied"),
    ),
    "resume": OperationExample(PauseStatus(None), NO_BODY),
    "erase": OperationExample(
        Erasure(erased=1, persons=[411], leads=["adf21080-0e10-11eb-879b-05d71fb426ec"]),
        EraseBody("ada@example.com"),
    ),
    "bulk": OperationExample(
        BulkStarted(BULK_ID, 3), BulkBody("retry", 3, BulkFilter(state="dead", source="contact"))
    ),
    "bulk-stop": OperationExample(BULK, NO_BODY),
}
