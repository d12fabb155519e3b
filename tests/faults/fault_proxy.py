"""An HTTP proxy on loopback that stands between a run and its store, and misbehaves on schedule."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("503", "lost answer", "hang up", "slow", "truncated")
_SLOW_S = 1.5


class FaultProxy:
    """Forwards to a port; every `every`-th request meets the next of `faults`.

    - 503: refused, nothing is done
    - lost answer: done, but a 503 is answered, so that the client does it again
    - hang up: the connection is closed without an answer
    - slow: the answer takes longer than the client may wait
    - truncated: half of the answer's body, then the connection is closed

    Attributes:
        port: where it listens.
        met: how often each fault was met.
    """

    def __init__(self, to_port: int, every: int, faults: tuple[str, ...] = FAULTS) -> None:
        self.met = dict.fromkeys(faults, 0)
        count, schedule, lock = itertools.count(1), itertools.cycle(faults), threading.Lock()

        def fault_of_request() -> str:
            with lock:
                if next(count) % every:
                    return ""
                fault = next(schedule)
                self.met[fault] += 1
                return fault

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = fault_of_request()
                if fault == "slow":
                    time.sleep(_SLOW_S)
                if fault == "hang up":
                    self.close_connection = True
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
                self.answer(got.status, got.getheaders(), data, cut=fault == "truncated")

            def answer(self, status, headers, data: bytes, cut: bool = False) -> None:
                self.send_response_only(status)
                skipped = {"transfer-encoding", "connection"}
                if self.command != "HEAD":
                    skipped.add("content-length")
                    self.send_header("Content-Length", str(len(data)))
                for name, value in headers:
                    if name.lower() not in skipped:
                        self.send_header(name, value)
                self.end_headers()
                if cut and data:
                    data, self.close_connection = data[: len(data) // 2], True
                if self.command != "HEAD":
                    self.wfile.write(data)

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
