"""Validates a request against its operation: path, query, content type and body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from msgspec import Struct
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from service.sandbox.api_errors import ApiError, invalid_value
from service.sandbox.api_operations import Operation, Parameter, read_operations

# What the server requires although the OpenAPI documents do not say so, on top of their schemas.
# Rules that need the account (does this label exist?) are in the handlers.

SHORT_TEXT = {"maxLength": 255}
NAME = {"minLength": 1, "maxLength": 255}
VISIBLE_TO = {"enum": [1, 3, 5, 7]}
CHANNELS = {
    "items": {
        "type": "object",
        "required": ["value"],
        "properties": {"value": {"minLength": 1, "maxLength": 255}},
    }
}
TERM = {"minLength": 1, "maxLength": 255}
PAGE_SIZE = {"minimum": 1, "maximum": 500}

_PERSON = {
    "name": NAME,
    "visible_to": VISIBLE_TO,
    "emails": CHANNELS,
    "phones": CHANNELS,
    "notes": {"maxLength": 10_000},
}
_ORGANIZATION = {"name": NAME, "visible_to": VISIBLE_TO}
_LEAD = {
    "title": NAME,
    "channel_id": SHORT_TEXT,
    "value": {"properties": {"amount": {"minimum": 0}, "currency": {"minLength": 3}}},
}
_NOTE = {"content": {"minLength": 1, "maxLength": 100_000}}

# Operation -> property of its body -> further schema.
BODIES: dict[str, dict[str, Any]] = {
    "leads.add": _LEAD | {"origin_id": SHORT_TEXT},
    "leads.update": _LEAD | {"title": NAME | {"type": "string"}},
    "labels.add": {"name": NAME},
    "labels.update": {"name": NAME},
    "notes.add": _NOTE,
    "notes.update": _NOTE,
    "persons.add": _PERSON,
    "persons.update": _PERSON,
    "organizations.add": _ORGANIZATION,
    "organizations.update": _ORGANIZATION,
}

# Query parameter of any operation -> further schema.
PARAMETERS: dict[str, dict[str, Any]] = {
    "term": TERM,
    "limit": PAGE_SIZE,
    "start": {"minimum": 0},
    "updated_since": {"format": "date-time"},
    "updated_until": {"format": "date-time"},
}


# A violation of a schema in the words of Pipedrive (`"title" is required`).

TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "array": "an array",
    "object": "of type object",
    "null": "null",
}
FORMAT_PHRASES = {
    "uuid": "a valid GUID",
    "date": "in YYYY-MM-DD format",
    "date-time": "a valid datetime",
}
QUOTED = re.compile(r"'([^']*)'")


def describe_violation(errors: Iterable[ValidationError]) -> str:
    """The first violation by path, as one sentence."""
    return _format_violation(min(errors, key=_sort_key))


def _sort_key(error: ValidationError) -> tuple[list[str], bool]:
    """By path; at the same place a wrong type comes before its consequences."""
    return [str(part) for part in error.absolute_path], error.validator != "type"


def _format_violation(error: ValidationError) -> str:
    subject = _subject(error)
    match error.validator:
        case "required":
            return f"{_quote(_label(error, _find_quoted(error)))} is required"
        case "additionalProperties":
            return f"{_quote(_label(error, _find_quoted(error)))} is not allowed"
        case "type":
            return f"{subject} must be {_describe_types(error.validator_value)}"
        case "format":
            return (
                f"{subject} must be"
                f" {FORMAT_PHRASES.get(str(error.validator_value), str(error.validator_value))}"
            )
        case "enum":
            return f"{subject} must be one of [{_join(error.validator_value)}]"
        case "minLength":
            return (
                f"{subject} is not allowed to be empty"
                if not error.instance
                else _describe_length(error, "at least")
            )
        case "maxLength":
            return _describe_length(error, "less than or equal to")
        case "minimum" | "maximum":
            than = "larger" if error.validator == "minimum" else "less"
            return f"{subject} must be {than} than or equal to {error.validator_value}"
        case _:
            return f"{subject} is invalid"


def _join(values: object) -> str:
    return ", ".join(str(value) for value in values) if isinstance(values, list) else ""


def _describe_length(error: ValidationError, than: str) -> str:
    return f"{_subject(error)} length must be {than} {error.validator_value} characters long"


def _describe_types(types: object) -> str:
    names = types if isinstance(types, list) else [types]
    return " or ".join(TYPES.get(str(name), str(name)) for name in names if name != "null")


def _subject(error: ValidationError) -> str:
    return _quote(_label(error, None))


def _label(error: ValidationError, child: str | None) -> str:
    label = ""
    for part in [*error.absolute_path, *([child] if child is not None else [])]:
        label += f"[{part}]" if isinstance(part, int) else f".{part}" if label else str(part)
    return label or "value"


def _find_quoted(error: ValidationError) -> str:
    match = QUOTED.search(error.message)
    return match.group(1) if match else "value"


def _quote(label: str) -> str:
    return f'"{label[:100]}"'


FORMATS = FormatChecker(formats=())
UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
INTEGER = re.compile(r"-?\d{1,15}")
DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
DATETIME_SECONDS = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})")
MULTIPART = "multipart/form-data"
SORT = re.compile(r"(\w+)(?: (ASC|DESC|asc|desc))?")
MAX_QUERY_BYTES = 8192
MAX_PARAMETERS = 50


@FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or UUID.fullmatch(value) is not None


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or (
        DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))
    )


@FORMATS.checks("date-time", raises=ValueError)
def _is_datetime(value: object) -> bool:
    return not isinstance(value, str) or (
        DATETIME.fullmatch(value) is not None and bool(datetime.fromisoformat(value))
    )


class FormFile(Struct, frozen=True):
    """A file of a multipart form."""

    name: str
    media_type: str
    content: bytes


class ValidCall(Struct, frozen=True, kw_only=True):
    """A valid request: path and query typed, by parameter name, and the body as sent."""

    operation: Operation
    path: dict[str, Any]
    query: dict[str, Any]
    body: dict[str, Any]
    user_id: int


class RequestValidator:
    """Validates requests for one operation; its schemas are compiled once."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._path = {
            item.name: _build_reader(operation, item)
            for item in operation.parameters
            if item.place == "path"
        }
        self._query = {
            item.name: _build_reader(operation, item)
            for item in operation.parameters
            if item.place == "query"
        }
        self._required = [
            item.name for item in operation.parameters if item.place == "query" and item.required
        ]
        self._body = _validator(_build_body_schema(operation)) if operation.body else None

    def validate(
        self, path: dict[str, str], query: bytes, content_type: str, raw: bytes, user_id: int
    ) -> ValidCall:
        """Raises `ApiError` with the first fault: in path, query, content type or body."""
        return ValidCall(
            operation=self.operation,
            path={name: self._path[name](name, value) for name, value in path.items()},
            query=self._read_query(query),
            body=self.read_body(content_type, raw),
            user_id=user_id,
        )

    def _read_query(self, query: bytes) -> dict[str, Any]:
        pairs = parse_query(query)
        for name in pairs:
            if name not in self._query:
                raise invalid_value(f'"{name[:100]}" is not allowed')
        for name in self._required:
            if name not in pairs:
                raise invalid_value(f'"{name}" is required')
        return {name: self._query[name](name, value) for name, value in pairs.items()}

    def read_body(self, content_type: str, raw: bytes) -> dict[str, Any]:
        """The body as an object; {} if the operation takes none."""
        body = self.operation.body
        if body is None or self._body is None:
            return {}
        if not raw and not body.required:
            return {}
        if content_type.partition(";")[0].strip().lower() != body.media_type:
            raise ApiError(
                415,
                f"Unsupported content type, expected {body.media_type}",
                code="ERR_UNSUPPORTED_MEDIA_TYPE",
            )
        if body.media_type == MULTIPART:
            return self._read_form(content_type, raw)
        document = parse_query(raw) if body.media_type.endswith("urlencoded") else _decode_json(raw)
        if not self._body.is_valid(document):
            raise invalid_value(describe_violation(self._body.iter_errors(document)))
        return dict(document)

    def _read_form(self, content_type: str, raw: bytes) -> dict[str, Any]:
        """The fields of a form by their type; the schema sees the name of a file."""
        properties = self.operation.body.schema["properties"] if self.operation.body else {}
        form = {
            name: value
            if isinstance(value, FormFile)
            else _converter(str(properties.get(name, {}).get("type")))(value)
            for name, value in _parse_form(content_type, raw).items()
        }
        texts = {
            name: value.name if isinstance(value, FormFile) else value
            for name, value in form.items()
        }
        if self._body is not None and not self._body.is_valid(texts):
            raise invalid_value(describe_violation(self._body.iter_errors(texts)))
        return form


@cache
def request_validators() -> dict[str, RequestValidator]:
    """The validator of every operation by name; compiled once per process, as it has no state."""
    return {operation.name: RequestValidator(operation) for operation in read_operations()}


def parse_query(query: bytes) -> dict[str, str]:
    """Names and values of a URL-encoded text.

    Raises `ApiError` if the text is too long or not UTF-8, or if a name occurs twice.
    """
    if len(query) > MAX_QUERY_BYTES:
        raise ApiError(414, "Request URI is too long")
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError as error:
        raise invalid_value("The query is not readable") from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise invalid_value("A parameter is given more than once")
    return values


def _decode_json(raw: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_value("Request body is not valid JSON") from error
    if not isinstance(document, dict):
        raise invalid_value('"value" must be of type object')
    return document


def _parse_form(content_type: str, raw: bytes) -> dict[str, str | FormFile]:
    """Fields and files of multipart/form-data by name."""
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    form: dict[str, str | FormFile] = {}
    part: MultipartSegment | None = None
    content = b""
    try:
        with PushMultipartParser(boundary.encode(), max_segment_count=MAX_PARAMETERS) as parser:
            for event in parser.parse(raw):
                if isinstance(event, MultipartSegment):
                    part, content = event, b""
                elif event is not None:
                    content += bytes(event)
                elif part is not None and part.filename is not None:
                    form[part.name] = FormFile(part.filename, part.content_type or "", content)
                elif part is not None:
                    form[part.name] = content.decode()
    except (MultipartError, ValueError) as error:
        raise invalid_value("The form is not readable") from error
    return form


def _build_body_schema(operation: Operation) -> dict[str, Any]:
    schema = operation.body.schema if operation.body else {}
    rules = BODIES.get(operation.name, {})
    named = schema["properties"]
    return schema | {
        "properties": named | {name: {"allOf": [named[name], rule]} for name, rule in rules.items()}
    }


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FORMATS)


def _build_reader(operation: Operation, parameter: Parameter) -> Callable[[str, str], Any]:
    schema = (
        parameter.schema | PARAMETERS.get(parameter.name, {})
        if parameter.place == "query"
        else parameter.schema
    )
    if parameter.form == "list":
        return _list_reader(schema)
    if parameter.form == "sort":
        return _sort_reader(schema)
    # v2 refuses fractions of a second here; the documents only have an example without them.
    whole_seconds = operation.version == "v2" and schema.get("format") == "date-time"
    validator = _validator(schema)
    convert = _converter(str(schema.get("type")))

    def reader(name: str, text: str) -> Any:
        value = convert(text)
        if whole_seconds and not DATETIME_SECONDS.fullmatch(text):
            raise invalid_value(f'"{name}" is not a valid datetime')
        if not validator.is_valid(value):
            raise invalid_value(
                describe_violation(validator.iter_errors(value)).replace('"value"', f'"{name}"', 1)
            )
        return value

    return reader


def _converter(kind: str) -> Callable[[str], Any]:
    """Converts a parameter to its type. A text of another type stays, and fails the schema."""
    if kind in ("integer", "number"):
        return lambda text: int(text) if INTEGER.fullmatch(text) else text
    if kind == "boolean":
        return lambda text: {"true": True, "false": False}.get(text, text)
    return lambda text: text


def _list_reader(schema: dict[str, Any]) -> Callable[[str, str], list[str]]:
    allowed = schema.get("enum")

    def reader(name: str, text: str) -> list[str]:
        values = [value.strip() for value in text.split(",") if value.strip()]
        for value in values:
            if allowed is not None and value not in allowed:
                raise invalid_value(f'"{name}" must be one of [{", ".join(allowed)}]')
        return values

    return reader


def _sort_reader(schema: dict[str, Any]) -> Callable[[str, str], list[tuple[str, bool]]]:
    """`[(field, descending)]`."""
    allowed = schema.get("enum")

    def reader(name: str, text: str) -> list[tuple[str, bool]]:
        orders = []
        for part in text.split(","):
            match = SORT.fullmatch(part.strip())
            if match is None or (allowed is not None and match[1] not in allowed):
                raise invalid_value(f'"{name}" must be made of known fields, each with ASC or DESC')
            orders.append((match[1], (match[2] or "asc").lower() == "desc"))
        return orders

    return reader
