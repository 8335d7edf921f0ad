"""`google-ads`: the webhook of a lead form asset.

The shared key is a field of the body. 200 with `{}` is success, a 5xx is sent again, and a 4xx is
never sent again, so that only real refusals are one. Every field of a lead is optional, and a lead
may come twice. https://developers.google.com/google-ads/webhook/docs/implementation
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter
from service.sources.adapters.questions import (
    Question,
    Table,
    Words,
    listed,
    only_known,
    reader,
    table,
    tables,
    text,
    told,
    with_told,
)
from service.sources.fields.values import truth
from service.sources.payload.event import Payload
from service.sources.request import Answer
from service.sources.schema import Verify

COLUMNS = {
    "FULL_NAME": "name", "FIRST_NAME": "first_name", "LAST_NAME": "last_name", "EMAIL": "email",
    "WORK_EMAIL": "email",
    "PHONE_NUMBER": "phone", "WORK_PHONE": "phone", "COMPANY_NAME": "company",
    "JOB_TITLE": "job_title", "COUNTRY": "country",
}  # fmt: skip
"""Google's own questions by their column ids; the others are the advertiser's."""
WORDS = Words(
    fields={"gcl_id": "click_ids.gclid", "form_id": "form_id", "lead_submit_time": "occurred_at"},
    left_out=("user_column_data", "google_key", "lead_id", "api_version", "is_test"),
)


def event(top: Table) -> Payload | None:
    if "user_column_data" not in top and "lead_id" not in top:
        return None
    payload = listed(
        top,
        _questions(top),
        at=("user_column_data",),
        known=only_known(event_id=text(top, "lead_id")),
        event_id=text(top, "lead_id"),
        is_test=truth(top.get("is_test")) is True,
    )
    return with_told(payload, told(top, WORDS))


def _questions(top: Table) -> Iterator[Question]:
    for number, column in enumerate(tables(top, "user_column_data")):
        key = text(column, "column_id")
        yield Question(
            key=key or str(number),
            title=text(column, "column_name"),
            value=column.get("string_value"),
            field=COLUMNS.get(key or "") if not table(column, "string_value") else None,
        )


ADAPTER = Adapter(
    name="google-ads",
    read=reader(event),
    verify=Verify(scheme="token", field="google_key"),
    answer=Answer(status=200, body={}),
)
