"""Errors, in the words and shapes of Pipedrive.

v1 answers `{"success": false, "error", "error_info", "data": null, "additional_data": null}` (and a
`code` with the limits of a plan), v2 `{"success": false, "error", "code"}`. The gateway in front of
both has shapes of its own for 401 and 429.
"""

from __future__ import annotations

from typing import Any

ADVICE = "Please check developers.pipedrive.com for more information about Pipedrive API."
OBJECT_NOT_FOUND = "Object was not found."


class ApiError(Exception):
    """A request that is refused: `error` for people, `code` for programs, `info` for v1."""

    def __init__(
        self, status: int, error: str, *, code: str | None = None, info: str = ADVICE
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.code = code
        self.info = info

    def body(self, version: str) -> dict[str, Any]:
        """The JSON body in the shape of this version of the API."""
        # v2 answers a missing object like v1.
        if version != "v1" and self.info != OBJECT_NOT_FOUND:
            return {"success": False, "error": self.error, "code": self.code or "ERR_BAD_REQUEST"}
        body = {
            "success": False,
            "error": self.error,
            "error_info": self.info,
            "data": None,
            "additional_data": None,
        }
        if version == "v1" and self.status == 403 and self.code:
            body["code"] = self.code
        return body


class GatewayError(ApiError):
    """An error of the gateway, before the API sees the request; `headers` are sent with it."""

    def __init__(
        self, status: int, document: dict[str, Any], headers: list[tuple[str, str]]
    ) -> None:
        super().__init__(status, str(document.get("error", "")))
        self.document = document
        self.headers = headers

    def body(self, version: str) -> dict[str, Any]:  # noqa: ARG002 - the gateway knows no versions
        return self.document


def invalid_value(error: str) -> ApiError:
    """400: a value of the request is wrong."""
    return ApiError(400, error, code="ERR_SCHEMA_VALIDATION_FAILED")


def not_found(label: str) -> ApiError:
    """404: the object does not exist (any more)."""
    return ApiError(404, f"{label} not found", code="ERR_NOT_FOUND", info=OBJECT_NOT_FOUND)


def forbidden(error: str, code: str) -> ApiError:
    """403 as JSON: a limit of the plan, or a missing right."""
    return ApiError(403, error, code=code)


def unauthorized() -> GatewayError:
    """401 in the shape of the gateway."""
    document = {
        "success": False,
        "error": "unauthorized access",
        "errorCode": 401,
        "error_info": "Please check developers.pipedrive.com",
    }
    return GatewayError(401, document, [("x-401-by-gw", "true"), ("x-correlation-id", "sandbox")])


def too_many_requests(error: str, headers: list[tuple[str, str]]) -> GatewayError:
    """429. The headers say whether it is a burst (remaining 0, reset in seconds) or a spent day."""
    return GatewayError(
        429, {"success": False, "error": error, "errorCode": 429, "error_info": ADVICE}, headers
    )
