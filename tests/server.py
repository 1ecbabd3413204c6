"""A web server on loopback that misbehaves as it is told, and counts what it sends."""

from __future__ import annotations

import contextlib
import gzip
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

Behaviour = Callable[["Handler", "Page"], None]


@dataclass
class Page:
    """A file that is served.

    Attributes:
        content: its bytes.
        etag: sent when there is one; so is ``last_modified``.
        ranges: whether Range is honoured.
        script: how the first requests are answered; later ones are answered well.
    """

    content: bytes
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    if_range: bool = True
    script: list[Behaviour] = field(default_factory=list)


@dataclass
class Seen:
    """A request, and the bytes of content that it was answered with."""

    path: str
    headers: dict[str, str]
    sent: int = 0


class Server(ThreadingHTTPServer):
    """Serves ``pages`` by path."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {}
        self.seen: list[Seen] = []
        self.holding = threading.Event()  # a scripted answer has come to its pause
        self.released = threading.Event()  # it may go on
        self.tls = tls
        self.tunnels = True  # whether it is a proxy for TLS
        self.refuses = 403  # its answer where it is none

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_port}"

    @property
    def sent(self) -> list[int]:
        """Bytes of content by request."""
        return [request.sent for request in self.seen]

    def page(self, path: str, content: bytes, *script: Behaviour, **settings: object) -> str:
        """Serve ``content`` under ``path``; returns its address."""
        self.pages[path] = Page(content, script=list(script), **settings)  # type: ignore[arg-type]
        return self.url + path

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no fault."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.tls:
            self.request.close()  # the server closes the plain socket that it has accepted, not this one

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path  # a proxy is asked for the whole address
        self.seen = Seen(path, {name.lower(): value for name, value in self.headers.items()})
        self.server.seen.append(self.seen)
        page = self.server.pages.get(path)
        if page is None:
            return self.answer(404, b"not here")
        behaviour = page.script.pop(0) if page.script else serve
        return behaviour(self, page)

    def do_CONNECT(self) -> None:
        """Pass on what a client and a server with TLS say to each other."""
        self.server.seen.append(Seen(self.path, {name.lower(): value for name, value in self.headers.items()}))
        if not self.server.tunnels:
            return self.answer(self.server.refuses, b"not from here")
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            other = {self.connection: far, far: self.connection}
            while True:
                for end in select.select(list(other), [], [], 20)[0]:
                    if not (piece := end.recv(1 << 16)):
                        self.close_connection = True
                        return None
                    other[end].sendall(piece)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def start(self, page: Page) -> bytes:
        """Send the headers, as asked for the whole or the rest; returns the body that they announce."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition in {None, page.etag, page.last_modified} or not page.if_range
        first = int(found[1]) if found and page.ranges and same else 0
        total = len(page.content)
        if found and page.ranges and first >= total:
            self.answer(416, b"", Content_Range=f"bytes */{total}")
            return b""
        body = page.content[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (("ETag", page.etag), ("Last-Modified", page.last_modified)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        return body

    def send(self, content: bytes) -> None:
        for begin in range(0, len(content), 1 << 14):
            piece = content[begin : begin + (1 << 14)]
            self.wfile.write(piece)
            self.seen.sent += len(piece)


def serve(handler: Handler, page: Page) -> None:
    """As it should be."""
    handler.send(handler.start(page))


def truncate(count: int) -> Behaviour:
    """Announce all, send ``count`` bytes, and hang up."""

    def behave(handler: Handler, page: Page) -> None:
        handler.send(handler.start(page)[:count])
        handler.close_connection = True

    return behave


def reset(count: int) -> Behaviour:
    """The same, but with a reset."""

    def behave(handler: Handler, page: Page) -> None:
        handler.send(handler.start(page)[:count])
        handler.server.holding.wait(0.2)  # what is under way must arrive before the reset overtakes it
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True

    return behave


def hold(count: int) -> Behaviour:
    """Send ``count`` bytes, and the rest when released."""

    def behave(handler: Handler, page: Page) -> None:
        body = handler.start(page)
        handler.send(body[:count])
        handler.server.holding.set()
        handler.server.released.wait(20)
        with contextlib.suppress(OSError):
            handler.send(body[count:])

    return behave


def hold_before_answering(handler: Handler, page: Page) -> None:
    """Take the request, and answer when released."""
    handler.server.holding.set()
    handler.server.released.wait(20)
    with contextlib.suppress(OSError):
        serve(handler, page)


def status(code: int, **headers: str) -> Behaviour:
    """Answer with an error."""
    return lambda handler, page: handler.answer(code, b"sorry", **headers)


def login_page(handler: Handler, page: Page) -> None:
    """What a hotel's network answers to everything."""
    handler.answer(200, b"<!DOCTYPE html><title>Please log in</title>", Content_Type="text/html; charset=utf-8")


def compressed(handler: Handler, page: Page) -> None:
    """What a server does that thinks it knows better than Accept-Encoding: identity."""
    handler.answer(200, gzip.compress(page.content), Content_Encoding="gzip")


def redirect(url: str) -> Behaviour:
    """Send the client elsewhere."""
    return lambda handler, page: handler.answer(302, b"", Location=url)


def without_length(count: int | None = None) -> Behaviour:
    """Announce no length; the end of the connection is the end of the file."""

    def behave(handler: Handler, page: Page) -> None:
        handler.protocol_version = "HTTP/1.0"
        handler.send_response(200)
        handler.end_headers()
        handler.send(page.content[:count])
        handler.close_connection = True

    return behave


def raw(answer: bytes) -> Behaviour:
    """Send these bytes, whatever they are, and hang up."""

    def behave(handler: Handler, page: Page) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    return behave


def drip(beginning: bytes, piece: bytes, seconds: float = 0) -> Behaviour:
    """Send ``beginning``, then ``piece`` again and again, with a pause before each, until the client goes away."""

    def behave(handler: Handler, page: Page) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(beginning)
            while not handler.server.released.wait(seconds):
                handler.wfile.write(piece)
        handler.close_connection = True

    return behave


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def self_signed(folder: Path) -> Path:
    """A certificate and its key, for 127.0.0.1, that nobody has signed."""
    path = folder / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", path, "-out", folder / "only.pem"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (folder / "only.pem").read_bytes())
    return path
