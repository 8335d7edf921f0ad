"""Sends messages to `LEADLINE_ALERT_WEBHOOK`, in the form of Slack and compatible services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from service.alerts.state import AlertMessage
from worker.pipedrive.deadline import Deadline
from worker.pipedrive.guarded_http import AddressNotAllowed
from worker.pipedrive.transport import exchange

# For one post in total, and the most that is read of its answer, which only has a status to tell.
TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 65_536
# Messages in one post; of the rest, only the number is sent.
MAX_MESSAGES = 20


class WebhookError(Exception):
    """The webhook did not take the post. Does not name its address, which is a secret."""


class AlertWebhook:
    """`console` is the public URL of the service, for links; None leaves them out.

    `http` is a client of `worker.pipedrive.guarded_http`; `timeout` is in seconds.
    """

    def __init__(
        self,
        url: str,
        console: str | None,
        http: httpx.Client,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._console = console.rstrip("/") if console else None
        self._http = http
        self._timeout = timeout

    def send(self, messages: Sequence[AlertMessage]) -> None:
        """Sends all messages in one post. Raises `WebhookError`."""
        try:
            received = exchange(
                self._http, self._request(messages), Deadline(self._timeout), limit=MAX_ANSWER_BYTES
            )
        except AddressNotAllowed as error:
            raise WebhookError(
                "the address is not public, or plain http: LEADLINE_ALLOW_PRIVATE_URLS"
            ) from error
        except (httpx.TransportError, httpx.InvalidURL, ValueError) as error:
            raise WebhookError(type(error).__name__) from error
        if not 200 <= received.status <= 299:
            raise WebhookError(f"status {received.status}")

    def _request(self, messages: Sequence[AlertMessage]) -> httpx.Request:
        url = httpx.URL(self._url)
        request = httpx.Request(
            "POST", url, json=self.body(messages), headers={"user-agent": "leadline"}
        )
        if url.userinfo:
            [request] = httpx.BasicAuth(url.username, url.password).auth_flow(request)
        return request

    def body(self, messages: Sequence[AlertMessage]) -> dict[str, Any]:
        """The JSON to post: `{"text": …}`, a line for each message."""
        lines = [self._line(message) for message in messages[:MAX_MESSAGES]]
        if len(messages) > MAX_MESSAGES:
            lines.append(f"… and {len(messages) - MAX_MESSAGES} more")
        return {"text": "\n".join(lines)}

    def _line(self, message: AlertMessage) -> str:
        mark = ":white_check_mark:" if message.recovered else ":rotating_light:"
        link = f" <{self._console}{message.path}|open>" if self._console else ""
        return f"{mark} *Leadline*: {_escape(message.text)}{link}"


def _escape(text: str) -> str:
    """Escapes text so that nothing in it mentions people or becomes a link.

    https://api.slack.com/reference/surfaces/formatting#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
