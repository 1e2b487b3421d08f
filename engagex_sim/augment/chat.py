"""One request to a server that speaks the OpenAI chat-completions protocol, and everything that can go wrong in it."""

import email.utils
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from engagex_sim.errors import InputError

KEY = "ENGAGEX_LLM_KEY"  # the environment variable with the server's key, which is written nowhere
MAX_REPLY = 8_000_000  # bytes
CHUNK = 65_536
# A server may mean these for the moment only; everything else that is no success will not get better by asking again.
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_HINTS = {
    400: "it may not know the model, or no answers by a JSON schema (response_format)",
    401: f"the key in {KEY} is missing or wrong",
    403: f"the key in {KEY} does not allow it",
    404: "the address or the model's name is wrong; the address usually ends in /v1",
    422: "it may not know answers by a JSON schema (response_format)",
}


class NoAnswerError(Exception):
    """A request that brought no answer, for a reason that may pass; `wait` is how many seconds the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the rows, and the key, to a place that nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class ChatServer:
    """Where a language model answers. Its key comes from the environment, at each request."""

    url: str  # up to and without /chat/completions
    model: str
    timeout: float = 120.0  # seconds until an answer must be there

    def __post_init__(self) -> None:
        """Raises `InputError` for an address that is none, or that holds what must not be written down."""
        try:
            parts = urlsplit(self.url)
            named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            named = named and self.url.isascii() and self.url.isprintable() and " " not in self.url
        except ValueError:
            named = False
        if not named:
            raise InputError("--llm-url is an address such as http://127.0.0.1:8000/v1.")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise InputError(
                f"--llm-url is an address without user, password and question mark: it is kept in config.toml. Give a"
                f" key in the environment variable {KEY}."
            )
        if not self.model.strip():
            raise InputError("--llm-model is the name of a model that the server knows.")

    def answer(self, messages: list[dict[str, str]], schema: Mapping[str, Any], seed: int) -> Any:
        """The JSON value that the model answers with, in the form of a JSON `schema`.

        Raises `NoAnswerError` where it may be worth to ask again, and `InputError` where it is not. What a server says
        in its own words is told nowhere, since it may repeat the key.
        """
        body = {
            "model": self.model,
            "messages": messages,
            "seed": seed,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "rows", "strict": True, "schema": schema},
            },
        }
        return _content(self._reply(json.dumps(body).encode("ascii")))

    def _reply(self, body: bytes) -> bytes:
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions",
            data=body,
            headers={"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "engagex-sim"},
        )
        key = key_from_environment()
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        opener = urllib.request.build_opener(_NoRedirect())
        ends = time.monotonic() + self.timeout
        try:
            with opener.open(request, timeout=self.timeout) as response:
                return _read(response, ends)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code, error.headers.get("Retry-After")) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise NoAnswerError(_what_broke(error)) from None

    def _refusal(self, status: int, retry_after: str | None) -> Exception:
        words = f"{status} {_phrase(status)}".strip()
        if status in _PASSING:
            return NoAnswerError(words, _seconds(retry_after))
        hint = "give the address that it leads to" if 300 <= status < 400 else _HINTS.get(status)
        return InputError(f"The server at {self.url} refuses the request: {words}{f'; {hint}' if hint else ''}.")


def key_from_environment() -> str:
    """The server's key, empty where there is none. Raises `InputError`, without the key, where it cannot be sent."""
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"The key in {KEY} holds characters that no key has.")
    return key


def _read(response: http.client.HTTPResponse, ends: float) -> bytes:
    """All of the reply; a server that sends it in drops does not outlast the time-out."""
    parts, size = [], 0
    while part := response.read1(CHUNK):
        parts.append(part)
        size += len(part)
        if size > MAX_REPLY:
            raise NoAnswerError("a reply without end")
        if time.monotonic() > ends:
            raise TimeoutError
    if response.length:  # fewer bytes than were announced
        raise http.client.IncompleteRead(b"")
    return b"".join(parts)


def _content(reply: bytes) -> Any:
    """What the model said, read as JSON; `NoAnswerError` for anything else."""
    try:
        message = _json(reply.decode())["choices"][0]["message"]["content"]
        return _json(message[message.index("{") : message.rindex("}") + 1])  # some put it between other signs
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NoAnswerError("unreadable reply") from None


def _json(text: str) -> Any:
    """Numbers as floats, so that none is too long to read; without the constants that JSON does not have."""
    return json.loads(text, parse_int=float, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _what_broke(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ConnectionRefusedError):
        return "nobody answers at the address"
    if isinstance(reason, http.client.HTTPException | ConnectionError):
        return "connection cut"
    return "no connection"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _seconds(retry_after: str | None) -> float:
    """Seconds from now, of a number or a date; 0 where there is neither."""
    if retry_after is None:
        return 0.0
    try:
        wait = float(retry_after)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return wait if 0 < wait < float("inf") else 0.0
