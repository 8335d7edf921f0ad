"""Refusals, in the shapes in which Pipedrive words them.

v1 answers `{"success": false, "error", "error_info", "data": null, "additional_data": null}` (and a
`code` with the limits of a plan), v2 `{"success": false, "error", "code"}`, the gateway in front of
both has shapes of its own for 401 and 429.
"""

from __future__ import annotations

from typing import Any

ADVICE = "Please check developers.pipedrive.com for more information about Pipedrive API."
MISSING = "Object was not found."


class Refusal(Exception):
    """A request that is not done. `error` is for people, `code` for programs (v2 only), `info` is
    v1's second sentence.
    """

    def __init__(
        self, status: int, error: str, *, code: str | None = None, info: str = ADVICE
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.code = code
        self.info = info

    def body(self, version: str) -> dict[str, Any]:
        """The JSON body as this version of the API shapes it."""
        if version == "v1":
            answer = {
                "success": False,
                "error": self.error,
                "error_info": self.info,
                "data": None,
                "additional_data": None,
            }
            return answer | ({"code": self.code} if self.code and self.status == 403 else {})
        if self.info == MISSING:
            return {
                "success": False,
                "error": self.error,
                "error_info": self.info,
                "data": None,
                "additional_data": None,
            }
        return {"success": False, "error": self.error, "code": self.code or "ERR_BAD_REQUEST"}


class GatewayRefusal(Refusal):
    """A refusal made before the API itself sees the request; `headers` go out with it."""

    def __init__(self, status: int, answer: dict[str, Any], headers: list[tuple[str, str]]) -> None:
        super().__init__(status, str(answer.get("error", "")))
        self.answer = answer
        self.headers = headers

    def body(self, version: str) -> dict[str, Any]:  # noqa: ARG002 - the gateway does not know versions
        return self.answer


def invalid(error: str) -> Refusal:
    """400: a value of the request is wrong."""
    return Refusal(400, error, code="ERR_SCHEMA_VALIDATION_FAILED")


def missing(what: str) -> Refusal:
    """404: what the request speaks of is not there (any more)."""
    return Refusal(404, f"{what} not found", code="ERR_NOT_FOUND", info=MISSING)


def forbidden(error: str, code: str) -> Refusal:
    """403 as JSON: a limit of the plan or a right that is lacking."""
    return Refusal(403, error, code=code)


def unauthorised() -> GatewayRefusal:
    """401 as the gateway answers it."""
    answer = {
        "success": False,
        "error": "unauthorized access",
        "errorCode": 401,
        "error_info": "Please check developers.pipedrive.com",
    }
    return GatewayRefusal(401, answer, [("x-401-by-gw", "true"), ("x-correlation-id", "sandbox")])


def too_many(error: str, headers: list[tuple[str, str]]) -> GatewayRefusal:
    """429; the headers tell a burst (remaining 0, reset in seconds) from a spent day (tokens
    remaining 0).
    """
    return GatewayRefusal(
        429, {"success": False, "error": error, "errorCode": 429, "error_info": ADVICE}, headers
    )
