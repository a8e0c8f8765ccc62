"""A hub on loopback that holds one repository with one model, and sends it slowly, so that a download can be ended."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from breaking.runner import ROOT

REPO, FILE = "someone/Mine-GGUF", "mine-F16.gguf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCK, PAUSE = 1 << 18, 0.02  # bytes, seconds between two blocks


@cache
def url() -> str:
    """Of the one hub of this process, for HF_ENDPOINT."""
    return f"http://127.0.0.1:{Hub(ROOT / 'localent/demo/abacus-sft-f16.gguf').server_address[1]}"


class Hub(ThreadingHTTPServer):
    """Serves until the process ends."""

    daemon_threads = True

    def __init__(self, model: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.held = model.read_bytes()
        self.sha256 = hashlib.sha256(self.held).hexdigest()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """A client that was ended is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(self.path).partition("?")[0]
        if path.startswith("/api/models/"):
            entry = {"type": "file", "path": FILE, "size": len(self.server.held), "oid": "0"}
            self._send(200, {"Content-Type": "application/json"}, json.dumps([entry]).encode())
        elif path.startswith("/cdn/"):
            first = int((self.headers.get("Range") or "bytes=0-").partition("=")[2].partition("-")[0])
            self._send(206 if first else 200, {}, self.server.held[first:])
        elif path.endswith(f"/{FILE}"):
            size = {"X-Linked-Size": str(len(self.server.held)), "X-Linked-Etag": f'"{self.server.sha256}"'}
            place = url().replace("127.0.0.1", "localhost")  # another host, which is not followed at once
            self._send(302, {"Location": f"{place}/cdn/{FILE}", "X-Repo-Commit": COMMIT} | size)
        else:
            self._send(404, {"X-Error-Code": "EntryNotFound"})

    def _send(self, code: int, head: dict[str, str], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in (head | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body) if self.command == "GET" else 0, BLOCK):
            self.wfile.write(body[start : start + BLOCK])
            time.sleep(PAUSE)
