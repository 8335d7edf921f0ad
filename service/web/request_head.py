"""What a request's head must be, before anything of ours looks at it: framing, host, path.

The parser already refuses what RFC 9112 forbids: folded lines, bare CR or LF, a blank before the
colon, a length beside chunks, two lengths. Here is what it leaves open, and what two programs could
read differently: whatever a proxy's rule sees must be what we serve.
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.web.problems import HttpProblem

MAX_HEADERS = 200
# The path of a request whose own path is not in normal form: nothing is there.
NOWHERE = "/.."

# Our paths consist of these characters alone, so that nothing in them needs an escape. An escape
# could only hide a letter or a slash from the rules of a proxy.
_SEGMENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+"
_NORMAL_PATH = re.compile(rf"(?:/{_SEGMENT})+|/")
# Here a slash at the end is customary and hides nothing: a rule for what is below covers it.
_SLASH_MAY_FOLLOW = re.compile(r"/(?:in|ops)(?:/.*)?")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


def check_headers(version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Refuse what leaves open where the request ends or whom it is for.

    `headers` have names in lower case. Returns the Host header, empty without one in HTTP/1.0.
    Raises HttpProblem.
    """
    if version not in ("1.0", "1.1"):
        raise HttpProblem("framing", "Send HTTP/1.1.")
    if len(headers) > MAX_HEADERS:
        raise HttpProblem("head-too-large", f"Send at most {MAX_HEADERS} headers.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise HttpProblem("framing", "Send exactly one Host header.")
    host = hosts[0] if hosts else b""
    if hosts and not _HOST.fullmatch(host):
        raise HttpProblem("framing", "The Host header is not a host.")
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or [coding.lower() for coding in codings] != [b"chunked"]):
        raise HttpProblem("framing", "The only transfer coding that is taken is `chunked`.")
    if codings and any(name == b"content-length" for name, _ in headers):
        raise HttpProblem("framing", "Send Content-Length or Transfer-Encoding, not both.")
    return host


def announces_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in headers
    )


def split_target(target: bytes, host: bytes) -> tuple[str, bytes, bytes]:
    """Split a request target into the path that we serve, the path as sent, and the query string.

    A path that is not in normal form becomes NOWHERE: it is not put right, because what stood
    before us may have judged it as it was. Raises HttpProblem for a target that is no path, such as
    an authority, or that names another host than the Host header does.
    """
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute:
        if absolute[1].lower() != host.lower():
            raise HttpProblem("framing", "The target and the Host header name different hosts.")
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if not target.startswith(b"/"):
        raise HttpProblem("framing", "The target must begin with a slash.")
    raw_path, _, query = target.partition(b"?")
    return normal_path(raw_path.decode("latin-1")), raw_path, query


def normal_path(path: str) -> str:
    """The path itself if it can be read in one way only, else NOWHERE.

    A slash at the end is dropped where it is customary.
    """
    if path != "/" and path.endswith("/") and _SLASH_MAY_FOLLOW.fullmatch(path):
        path = path[:-1]
    return path if _NORMAL_PATH.fullmatch(path) else NOWHERE
