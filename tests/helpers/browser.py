"""A real Chromium for tests, driven over WebDriver."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 150  # seconds: a busy machine takes more than one minute to start a browser
needed = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with chromedriver on this machine")


class Browser:
    """A session of WebDriver, over plain HTTP."""

    def __init__(self, port: int, profile) -> None:
        self.base = f"http://127.0.0.1:{port}"
        options = {"binary": BROWSER, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        wanted["goog:loggingPrefs"] = {"browser": "ALL", "performance": "ALL"}
        self.base += f"/session/{self.post('/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"

    def post(self, path: str, body: dict, method: str = "POST"):
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as reply:
            return json.load(reply)["value"]

    def go(self, url: str) -> None:
        """Load an address anew, also where only the part behind # is another."""
        self.post("/url", {"url": "about:blank"})
        self.post("/url", {"url": url})

    def open(self, url: str) -> None:
        self.post("/url", {"url": url})
        self.wait("return document.body.dataset.ready === '1'")

    def run(self, script: str, *arguments):
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str):
        deadline = time.monotonic() + PATIENCE
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, script
            time.sleep(0.05)
        return found

    def devtools(self, command: str, **params):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": params})

    def log(self, kind: str) -> list[dict]:
        return self.post("/se/log", {"type": kind})

    def keys(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def hover(self, selector: str) -> None:
        """Move the mouse over the first element that matches."""
        self.run(
            "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector
        )
        box = "const r = document.querySelector(arguments[0]).getClientRects()[0];"
        x, y = self.run(f"{box} return [r.left + r.width / 2, r.top + r.height / 2]", selector)
        moves = [{"type": "pointerMove", "duration": 0, "x": round(x + d), "y": round(y)} for d in (-300, 0)]
        moves[0]["x"] = max(moves[0]["x"], 0)
        self.post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def view(self, width: int, height: int, scheme: str = "light") -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, name: str) -> None:
        """Into the folder LOCALENT_SCREENSHOTS, where one is named."""
        if folder := os.environ.get("LOCALENT_SCREENSHOTS"):
            with open(f"{folder}/{name}.png", "wb") as file:
                file.write(base64.b64decode(self.post("/screenshot", {}, "GET")))


@contextmanager
def driver():
    """A chromedriver on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    process = subprocess.Popen([DRIVER, f"--port={port}"], **quiet)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, "chromedriver does not answer"
            time.sleep(0.05)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also a browser whose session never began
        process.wait()


@contextmanager
def session(profile):
    """A browser with a fresh profile in this folder."""
    with driver() as port:
        browser = Browser(port, profile)
        try:
            yield browser
        finally:
            browser.post("", {}, "DELETE")
