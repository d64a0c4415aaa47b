"""A proxy before an object store, whose faults a test switches while it runs, and which counts requests.

    with FaultyProxy("http://127.0.0.1:7070") as proxy:
        proxy.busy(10)                                 # 503 for ten seconds
        proxy.when(r"PUT .*/start\\.json", proxy.lose)  # the answer of the next one is lost

What the client signed, its Host header among it, is passed on as it came, so signatures hold.
"""

import os
import re
import socket
import struct
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

WRITES = ("PUT", "POST", "DELETE", "PATCH")
_HOP = ("connection", "keep-alive", "expect", "transfer-encoding")
_S3_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
)
_GCS_ERROR = '{{"error": {{"code": {status}, "message": "{message}"}}}}'


class FaultyProxy:
    """Passes HTTP on to a server, until it is told otherwise; a context manager.

    Args:
        server: its address.
        format: of the store's own errors, `s3` or `gcs`.

    Attributes:
        server: its address.
        address: what clients must connect to.
        requests: how many came, by method.
        received: bytes of their bodies, by method.
        sent: bytes of the answers' bodies, by method.
        log: method and path of the requests, in the order in which they came.
    """

    def __init__(self, server, format="s3"):
        self.server = server
        self.requests, self.received, self.sent = Counter(), Counter(), Counter()
        self.log = []
        self._format = format
        self._lock = threading.Lock()
        self._watched = []  # (pattern, what is done then)
        self.heal()
        upstream = urlsplit(server)
        handler = type(
            "Handler", (_Handler,), {"proxy": self, "upstream": (upstream.hostname, upstream.port)}
        )
        self._server = _Server(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # What a test switches.

    def heal(self):
        """Passes everything on from now on."""
        with self._lock:
            self._delay = 0.0
            self._refusing = False
            self._busy_until = 0.0
            self._status = 503
            self._full = False
            self._losing_firsts, self._answered = False, set()
            self._losses = self._cut_reads = self._cut_writes = 0
            self._watched = []

    def slow(self, seconds):
        """Lets every request wait."""
        self._delay = seconds

    def refuse(self):
        """Resets every connection."""
        self._refusing = True

    def busy(self, seconds, status=503):
        """Answers 503 SlowDown, or another status, to everything for some time."""
        self._busy_until, self._status = time.monotonic() + seconds, status

    def fill(self):
        """Refuses every PUT and POST as a store without room does."""
        self._full = True

    def lose(self, count=1):
        """Passes on the next requests that write, and resets their connections instead of answering."""
        self._losses = count

    def lose_every_first(self):
        """Loses the answer to the first request of every object that writes it."""
        self._losing_firsts = True

    def cut_reads(self, count=1):
        """Sends only half of the next answers to GET that have a body of some length."""
        self._cut_reads = count

    def cut_writes(self, count=1):
        """Reads only half of the next bodies of PUT and POST."""
        self._cut_writes = count

    def when(self, pattern, action):
        """Calls `action` once, before the next request whose method and path match a pattern is handled."""
        with self._lock:
            self._watched.append((re.compile(pattern), action))

    # What the handler asks.

    def note(self, line):
        method = line.partition(" ")[0]
        with self._lock:
            self.requests[method] += 1
            self.log.append(line)
            due = [watched for watched in self._watched if watched[0].search(line)]
            self._watched = [watched for watched in self._watched if watched not in due]
        for _, action in due:
            action()
        time.sleep(self._delay)

    def takes(self, name):
        """Takes one of the faults that are counted, if one is left."""
        with self._lock:
            left = getattr(self, name)
            if left:
                setattr(self, name, left - 1)
            return left > 0

    def loses(self, method, path):
        """Whether the answer to a request that was passed on gets lost."""
        if method not in WRITES:
            return False
        with self._lock:
            first = path not in self._answered
            self._answered.add(path)
        return (self._losing_firsts and first) or self.takes("_losses")

    def count(self, method, received, sent):
        with self._lock:
            self.received[method] += received
            self.sent[method] += sent

    def refuses(self):
        return self._refusing

    def fault(self, method):
        """The status and the body of the answer that the proxy gives itself; None to pass a request on."""
        if time.monotonic() < self._busy_until:
            return self._status, self._error(self._status, "SlowDown", "Please reduce your request rate.")
        if self._full and method in ("PUT", "POST"):
            return 507, self._error(507, "InsufficientStorage", "No space left on device.")
        return None

    def _error(self, status, code, message):
        text = _S3_ERROR if self._format == "s3" else _GCS_ERROR
        return text.format(status=status, code=code, message=message).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that has gone is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300

    def _handle(self):
        self.proxy.note(f"{self.command} {self.path}")
        if self.proxy.refuses():
            return self._reset()
        length = int(self.headers.get("Content-Length", 0))
        cuttable = self.command in ("PUT", "POST") and length > 1
        if cuttable and self.proxy.takes("_cut_writes"):
            self.rfile.read(length // 2)
            return self._reset()
        body = self._chunks() if self.headers.get("Transfer-Encoding") else self.rfile.read(length)
        fault = self.proxy.fault(self.command)
        if fault is not None:
            return self._answer(fault[0], [("Content-Type", "application/xml")], fault[1], len(body))
        connection = HTTPConnection(*self.upstream, timeout=300)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in (*_HOP, "content-length"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if self.proxy.loses(self.command, self.path):
            return self._reset()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        return self._answer(answer.status, headers, content, len(body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _handle  # noqa: N815

    def _answer(self, status, headers, content, received):
        half = self.command == "GET" and len(content) > 1000 and self.proxy.takes("_cut_reads")
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                # Where an upload in pieces goes on.
                self.send_header(name, value.replace(self.proxy.server, self.proxy.address))
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = content[: len(content) // 2] if half else content
        if self.command != "HEAD":
            self.wfile.write(sent)
        self.wfile.flush()
        self.proxy.count(self.command, received, len(sent))
        if half:
            self._reset()

    def _chunks(self):
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _reset(self):
        """Ends the connection in a way that the client notices at once."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_message(self, format, *arguments):
        """Nothing is logged."""
