"""Who may call: holders of the API token, or of a token of the sandbox's token endpoint."""

from __future__ import annotations

import httpx
import pytest

from service.sandbox.settings import SandboxSettings
from tests.sandbox.account import TOKEN, ManualClock
from tests.sandbox.conftest import Opener

CLIENT = ("sandbox-client", "sandbox-secret")
ME = "/v1/users/me"


def refresh(
    api: httpx.Client, token: str = "sandbox-refresh", auth: tuple[str, str] = CLIENT
) -> httpx.Response:
    return api.post(
        "/oauth/token", data={"grant_type": "refresh_token", "refresh_token": token}, auth=auth
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-token": ""},
        {"x-api-token": "wrong"},
        {"x-api-token": TOKEN.upper()},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": "Basic c2FuZGJveC1jbGllbnQ6c2FuZGJveC1zZWNyZXQ="},
        {"authorization": "Bearer"},
    ],
)
def test_no_or_wrong_credentials(api: httpx.Client, headers: dict[str, str]) -> None:
    """Without valid credentials the gateway answers 401, even for unknown paths."""
    del api.headers["x-api-token"]
    for path in (ME, "/v1/nothing", "/api/v2/persons"):
        answer = api.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.json() == {
            "success": False,
            "error": "unauthorized access",
            "errorCode": 401,
            "error_info": "Please check developers.pipedrive.com",
        }
        assert {"x-401-by-gw", "x-correlation-id"} <= set(answer.headers)


def test_the_token_in_the_query_is_not_taken(api: httpx.Client) -> None:
    """`?api_token=` is not accepted."""
    del api.headers["x-api-token"]
    assert api.get(ME, params={"api_token": TOKEN}).status_code == 401


def test_an_access_token_works_until_it_expires(api: httpx.Client, clock: ManualClock) -> None:
    """A refresh returns a long token in the shape of Pipedrive; it works until it expires."""
    body = refresh(api).json()
    assert (body["token_type"], body["refresh_token"], body["expires_in"]) == (
        "Bearer",
        "sandbox-refresh",
        3599,
    )
    assert 256 < len(body["access_token"]) <= 768
    del api.headers["x-api-token"]
    bearer = {"authorization": f"Bearer {body['access_token']}"}
    assert api.get(ME, headers=bearer).status_code == 200
    clock.advance(3598)
    assert api.get(ME, headers=bearer).status_code == 200
    clock.advance(1)
    assert api.get(ME, headers=bearer).status_code == 401


def test_access_tokens_can_be_ended_at_once(api: httpx.Client) -> None:
    """For tests of a refresh, all issued tokens can be invalidated; a new one works."""
    old = refresh(api).json()["access_token"]
    api.post("/_sandbox/expire-access-tokens")
    new = refresh(api).json()["access_token"]
    del api.headers["x-api-token"]
    assert [
        api.get(ME, headers={"authorization": f"Bearer {token}"}).status_code
        for token in (old, new)
    ] == [401, 200]


def test_a_rotating_refresh_token_works_once(open_sandbox: Opener) -> None:
    """With rotation, the used token is invalid, and only the new one works."""
    api = open_sandbox(SandboxSettings(rotate_refresh_token=True))
    second = refresh(api).json()["refresh_token"]
    assert second != "sandbox-refresh"
    answer = refresh(api)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert refresh(api, second).status_code == 200


@pytest.mark.parametrize(
    ("form", "auth", "status", "error"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "wrong"}, CLIENT, 400, "invalid_grant"),
        ({"grant_type": "refresh_token"}, CLIENT, 400, "invalid_grant"),
        ({"grant_type": "authorization_code"}, CLIENT, 400, "unsupported_grant_type"),
        (
            {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"},
            ("sandbox-client", "wrong"),
            401,
            "invalid_client",
        ),
        (
            {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh", "code": "x"},
            CLIENT,
            400,
            '"code" is not allowed',
        ),
    ],
)
def test_refreshes_are_checked(
    api: httpx.Client, form: dict[str, str], auth: tuple[str, str], status: int, error: str
) -> None:
    """A refresh with a wrong token, client or form is refused in the words of OAuth."""
    answer = api.post("/oauth/token", data=form, auth=auth)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_refresh_is_a_form(api: httpx.Client) -> None:
    """JSON is refused, and so is a trailing slash, which would redirect the POST."""
    assert (
        api.post("/oauth/token", json={"grant_type": "refresh_token"}, auth=CLIENT).status_code
        == 415
    )
    assert (
        api.post("/oauth/token/", data={}, auth=CLIENT, follow_redirects=False).status_code == 404
    )


def test_secrets_stay_out_of_the_log(api: httpx.Client) -> None:
    """The state lists the refresh, but not its tokens."""
    token = refresh(api).json()["access_token"]
    text = api.get("/_sandbox/state").text
    assert "oauth.token" in text
    assert token not in text
    assert "sandbox-refresh" not in text
