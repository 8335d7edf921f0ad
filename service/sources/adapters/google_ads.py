"""`google-ads`: the webhook of a lead form asset.

The shared key is a field of the body. 200 with `{}` is success, a 5xx is retried and a 4xx never
is, so only real refusals get one. Every field of a lead is optional, and a lead may come twice.
https://developers.google.com/google-ads/webhook/docs/implementation
"""

from __future__ import annotations

from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body, has_keys
from service.sources.adapters.questions import (
    FieldMap,
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_question_list,
    extract_fields,
    object_at,
    objects_at,
    text_at,
    with_fields,
)
from service.sources.fields.values import parse_bool
from service.sources.payload.event import ParsedEvent
from service.sources.request import CustomResponse
from service.sources.schema import VerifySettings

# Google's own questions by their column ids; the others are the advertiser's.
COLUMNS = {
    "FULL_NAME": "name", "FIRST_NAME": "first_name", "LAST_NAME": "last_name", "EMAIL": "email",
    "WORK_EMAIL": "email", "PHONE_NUMBER": "phone", "WORK_PHONE": "phone",
    "COMPANY_NAME": "company", "JOB_TITLE": "job_title", "COUNTRY": "country",
}  # fmt: skip
FIELD_MAP = FieldMap(
    fields={"gcl_id": "click_ids.gclid", "form_id": "form_id", "lead_submit_time": "occurred_at"},
    ignored=("user_column_data", "google_key", "lead_id", "api_version", "is_test"),
)


def event(top: Table) -> ParsedEvent | None:
    if "user_column_data" not in top and "lead_id" not in top:
        return None
    payload = event_from_question_list(
        top,
        _questions(top),
        at=("user_column_data",),
        lead_fields=drop_empty(event_id=text_at(top, "lead_id")),
        event_id=text_at(top, "lead_id"),
        is_test=parse_bool(top.get("is_test")) is True,
    )
    return with_fields(payload, extract_fields(top, FIELD_MAP))


def _questions(top: Table) -> Iterator[FormQuestion]:
    for number, column in enumerate(objects_at(top, "user_column_data")):
        key = text_at(column, "column_id")
        yield FormQuestion(
            key=key or str(number),
            title=text_at(column, "column_name"),
            value=column.get("string_value"),
            lead_field=COLUMNS.get(key or "") if not object_at(column, "string_value") else None,
        )


ADAPTER = Adapter(
    name="google-ads",
    title="Google Ads",
    read=body_reader(event),
    detectors=(
        by_body(has_keys("user_column_data"), "user_column_data"),
        by_body(has_keys("google_key"), "google_key"),
    ),
    verify=VerifySettings(scheme="token", field="google_key"),
    response=CustomResponse(status=200, body={}),
    # Google shows `message` to the advertiser who presses "Send test data".
    error_member="message",
)
