"""An HTTP proxy on loopback that stands between a run and its store, and misbehaves on schedule."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("503", "lost answer", "hang up", "time-out", "slow", "truncated")
_TIME_OUT_S = 1.5
_SLOW_S = 0.3  # between the parts of a slow answer: less than a client waits
_PARTS = 4


_NOT_IMPLEMENTED = (
    b"<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that "
    b"is not implemented</Message></Error>"
)


class FaultProxy:
    """Forwards to a port; every `every`-th request meets the next of `faults`, if there are any.

    - 503: refused, nothing is done
    - lost answer: done, but a 503 is answered, so that the client does it again
    - hang up: the connection is closed without an answer
    - time-out: the answer takes longer than the client may wait
    - slow: the answer trickles in, a part at a time
    - truncated: half of the answer's body, then the connection is closed

    Args:
        to_port: of the store.
        conditions: whether it knows conditional writes; without, it answers 501 to them.

    Attributes:
        port: where it listens.
        met: how often each fault was met.
        asked: what was asked for, method and path, in order.
    """

    def __init__(
        self,
        to_port: int,
        every: int = 1,
        faults: tuple[str, ...] = FAULTS,
        conditions: bool = True,
    ) -> None:
        met = self.met = dict.fromkeys(faults if conditions else (*faults, "501"), 0)
        self.asked: list[tuple[str, str]] = []
        asked = self.asked
        count, schedule, lock = itertools.count(1), itertools.cycle(faults), threading.Lock()

        def fault_of_request() -> str:
            with lock:
                if not faults or next(count) % every:
                    return ""
                fault = next(schedule)
                met[fault] += 1
                return fault

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append((self.command, self.path))
                fault = fault_of_request()
                if fault == "time-out":
                    time.sleep(_TIME_OUT_S)
                if fault == "hang up":
                    self.close_connection = True
                    return
                if not conditions and "If-None-Match" in self.headers:
                    met["501"] += 1
                    self.answer(501, [("Content-Type", "application/xml")], _NOT_IMPLEMENTED)
                    return
                if fault == "503":
                    self.answer(503, [], b"")
                    return
                there = http.client.HTTPConnection("127.0.0.1", to_port, timeout=30)
                try:
                    there.request(self.command, self.path, body, dict(self.headers.items()))
                    got = there.getresponse()
                    data = got.read()
                except OSError:
                    self.close_connection = True
                    return
                finally:
                    there.close()
                if fault == "lost answer":
                    self.answer(503, [], b"")
                    return
                self.answer(got.status, got.getheaders(), data, fault)

            def answer(self, status, headers, data: bytes, fault: str = "") -> None:
                self.send_response_only(status)
                skipped = {"transfer-encoding", "connection"}
                if self.command != "HEAD":
                    skipped.add("content-length")
                    self.send_header("Content-Length", str(len(data)))
                for name, value in headers:
                    if name.lower() not in skipped:
                        self.send_header(name, value)
                self.end_headers()
                if fault == "truncated" and data:
                    data, self.close_connection = data[: len(data) // 2], True
                if self.command == "HEAD":
                    return
                parts = _PARTS if fault == "slow" else 1
                for k in range(parts):
                    time.sleep(_SLOW_S if fault == "slow" else 0)
                    self.wfile.write(data[k * len(data) // parts : (k + 1) * len(data) // parts])

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that went away is what is being tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
