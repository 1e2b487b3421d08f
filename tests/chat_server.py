"""A server on this machine that speaks the OpenAI chat-completions protocol, well or badly, by a script of replies."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    server: "ChatHTTPServer"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
            self.server.times.append(time.monotonic())
        reply = self.server.script[min(number, len(self.server.script) - 1)]
        reply(self, body)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class ChatHTTPServer(ThreadingHTTPServer):
    """Answers request i by the i-th reply of the script, and all later ones by the last."""

    daemon_threads = True

    def __init__(self, script: tuple[Reply, ...]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def chat_server(*script: Reply) -> Iterator[ChatHTTPServer]:
    server = ChatHTTPServer(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(content: Any) -> bytes:
    """A reply in the protocol's form, with `content` as what the model says."""
    message = {"role": "assistant", "content": content if isinstance(content, str) else json.dumps(content)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "model": "x", "choices": [choice]}).encode()


def says(content: Any) -> Reply:
    """The model says this: text, or a value as JSON."""
    return lambda handler, _: handler.send(200, completion(content))


def writes(row: Callable[[int, dict[str, Any]], dict[str, Any]]) -> Reply:
    """Writes 20 rows: the i-th one of all is `row(i, columns)`, where the columns are as the prompt says."""
    written = iter(range(10**9))

    def reply(handler: Handler, body: dict[str, Any]) -> None:
        lines = [line for line in body["messages"][1]["content"].splitlines() if line.startswith('{"column"')]
        columns = {column["column"]: column for column in map(json.loads, lines)}
        handler.send(200, completion({"rows": [row(next(written), columns) for _ in range(20)]}))

    return reply


def echoes(handler: Handler, body: dict[str, Any]) -> None:
    """Writes the very rows that the prompt shows."""
    after = body["messages"][1]["content"].split("Rows of the log:\n")[1]
    shown = [json.loads(line) for line in after.splitlines() if line.startswith("{")]
    handler.send(200, completion({"rows": shown}))


def fails(status: int, headers: dict[str, str] | None = None, body: bytes = b"{}") -> Reply:
    return lambda handler, _: handler.send(status, body, headers)


def cut(handler: Handler, _: dict[str, Any]) -> None:
    """Half a reply: fewer bytes than announced, then the connection ends."""
    whole = completion({"rows": []})
    handler.send(200, whole[: len(whole) // 2], length=len(whole))
    handler.close_connection = True


def cut_in_chunks(handler: Handler, _: dict[str, Any]) -> None:
    """Half a reply in chunks, whose end never comes."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"10\r\n" + completion({"rows": []})[:7])
    handler.close_connection = True


def hangs_up(handler: Handler, _: dict[str, Any]) -> None:
    """No reply at all."""
    handler.close_connection = True


def hangs(seconds: float) -> Reply:
    def reply(handler: Handler, _: dict[str, Any]) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return reply


def drips(seconds: float) -> Reply:
    """A byte now and then, without end: no single wait is long."""

    def reply(handler: Handler, _: dict[str, Any]) -> None:
        handler.send(200, b"", length=10**6)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                handler.wfile.write(b" ")
            except OSError:
                return
            time.sleep(0.02)

    return reply
