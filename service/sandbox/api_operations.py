"""The operations of the sandbox, read from extracts of Pipedrive's documents, and their routes."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any, Literal

import msgspec
from msgspec import Struct

PREFIXES = {"v1": ("/api/v1", "/v1"), "v2": ("/api/v2",)}


class Parameter(Struct, frozen=True, kw_only=True):
    """A path, query or header parameter. `list` takes `a,b`, `sort` takes `a ASC,b DESC`."""

    name: str
    place: Literal["path", "query", "header"] = msgspec.field(name="in")
    required: bool
    schema: dict[str, Any]
    form: Literal["single", "list", "sort"]


class Body(Struct, frozen=True, kw_only=True):
    """A request body, with its only media type."""

    media_type: str
    required: bool
    schema: dict[str, Any]


class Operation(Struct, frozen=True, kw_only=True):
    """One operation. `name` is ours (`leads.add`), `operation_id` Pipedrive's."""

    name: str
    operation_id: str
    method: str
    path: str
    # The price of a call in API tokens.
    tokens: int
    parameters: list[Parameter]
    body: Body | None
    responses: dict[str, dict[str, Any] | None]
    version: str = "v1"

    @property
    def is_search(self) -> bool:
        return self.path.endswith("/search")


class Extract(Struct, frozen=True):
    """One file of `openapi/`."""

    title: str
    version: str
    operations: list[Operation]


def read_operations() -> list[Operation]:
    """The operations of both versions."""
    folder = files(__package__) / "openapi"
    extracts = [
        msgspec.json.decode((folder / f"{version}.json").read_bytes(), type=Extract)
        for version in PREFIXES
    ]
    return [
        msgspec.structs.replace(operation, version=extract.version)
        for extract in extracts
        for operation in extract.operations
    ]


class Route(Struct, frozen=True):
    """An operation and the values of its path parameters, still text."""

    operation: Operation
    values: dict[str, str]


class RoutingTable:
    """Finds the operation for a method and path. A fixed path wins over one with parameters."""

    def __init__(self, operations: list[Operation]) -> None:
        self._fixed: dict[str, dict[str, Operation]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Operation]]] = []
        for pattern, by_method in _group_by_path(operations).items():
            if "{" in pattern:
                self._patterns.append(
                    (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)), by_method)
                )
            else:
                self._fixed[pattern] = by_method

    def find(self, method: str, path: str) -> Route | bool:
        """The route; True if the path exists for other methods only, False if it does not exist."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return Route(fixed[method], {}) if method in fixed else True
        for pattern, by_method in self._patterns:
            if match := pattern.fullmatch(path):
                return Route(by_method[method], match.groupdict()) if method in by_method else True
        return False


def _group_by_path(operations: list[Operation]) -> dict[str, dict[str, Operation]]:
    paths: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        prefixes = ("",) if operation.path.startswith("/oauth") else PREFIXES[operation.version]
        for prefix in prefixes:
            paths.setdefault(prefix + operation.path, {})[operation.method] = operation
    return paths
