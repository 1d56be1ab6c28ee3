"""Open pages in a real browser, wait until they are drawn, and take pictures. Needs chromium and websockets."""

from __future__ import annotations

import base64
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

ROUNDS = 3
MAX_SECONDS = 60.0
BROWSER = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1300,1200")
# holds when every plot of the page is drawn
PLOTS = (
    "document.readyState == 'complete' && document.querySelectorAll('.main-svg').length >= 3 && "
    "[...document.querySelectorAll('.js-plotly-plot')].every(plot => plot.querySelector('.main-svg'))"
)
TRIAL_NOTE = "document.body && document.body.innerText.includes('Get this model')"


@contextmanager
def open_browser() -> Iterator[Callable[[str, str, Path], float]]:
    """Start a browser. Yield a function that opens an address, waits for a condition, takes a picture, returns the seconds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [*BROWSER, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        port = next(match[1] for line in process.stderr if (match := re.search(r"ws://[^:]+:(\d+)/", line)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            address = next(tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page")
        with connect(address, max_size=None) as connection:
            yield lambda page, ready, picture: _open_page(connection, page, ready, picture)
        process.terminate()
        process.wait()


def _open_page(connection: ClientConnection, address: str, ready: str, picture: Path) -> float:
    """Return the median seconds until `ready` holds in the page; write a picture of it."""

    def call(method: str, **values: Any) -> Any:
        connection.send(json.dumps({"id": 1, "method": method, "params": values}))
        while "id" not in (answer := json.loads(connection.recv())):
            pass
        return answer["result"]

    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call("Page.navigate", url=address)
        while not call("Runtime.evaluate", expression=ready)["result"].get("value"):
            if time.perf_counter() - start > MAX_SECONDS:
                sys.exit(f"{address}: {ready} does not hold after {MAX_SECONDS:g} s")
            time.sleep(0.01)
        seconds.append(time.perf_counter() - start)
        call("Page.navigate", url="about:blank")
    call("Page.navigate", url=address)
    time.sleep(2 * max(seconds) + 1)
    screenshot = call("Page.captureScreenshot", captureBeyondViewport=True)
    picture.write_bytes(base64.b64decode(screenshot["data"]))
    return statistics.median(seconds)
