"""Sends messages to `LEADLINE_ALERT_WEBHOOK`, in the form of Slack and compatible services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from service.alerts.state import AlertMessage

TIMEOUT_SECONDS = 10.0
# Messages in one post; of the rest, only the number is sent.
MAX_MESSAGES = 20


class WebhookError(Exception):
    """The webhook did not take the post. Does not name its address, which is a secret."""


class AlertWebhook:
    """`console` is the public URL of the service, for links; None leaves them out."""

    def __init__(self, url: str, console: str | None, http: httpx.Client) -> None:
        self._url = url
        self._console = console.rstrip("/") if console else None
        self._http = http

    def send(self, messages: Sequence[AlertMessage]) -> None:
        """Sends all messages in one post. Raises `WebhookError`."""
        try:
            response = self._http.post(self._url, json=self.body(messages))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WebhookError(type(error).__name__) from error
        if not response.is_success:
            raise WebhookError(f"status {response.status_code}")

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


def build_http() -> httpx.Client:
    """Returns a client that follows no redirect, since the address holds a secret."""
    return httpx.Client(
        timeout=TIMEOUT_SECONDS, follow_redirects=False, headers={"user-agent": "leadline"}
    )


def _escape(text: str) -> str:
    """Escapes text so that nothing in it mentions people or becomes a link.

    https://api.slack.com/reference/surfaces/formatting#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
