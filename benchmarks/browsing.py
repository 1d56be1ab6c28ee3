"""A real browser that opens pages, waits until they are drawn, and takes pictures. Needs chromium and websockets."""

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
PATIENCE = 60.0
BROWSER = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1300,1200")
# of all places for plots, those that are drawn
PLOTS = (
    "document.readyState == 'complete' && document.querySelectorAll('.main-svg').length >= 3 && "
    "[...document.querySelectorAll('.js-plotly-plot')].every(plot => plot.querySelector('.main-svg'))"
)
NOTE = "document.body && document.body.innerText.includes('Get this model')"


@contextmanager
def browser() -> Iterator[Callable[[str, str, Path], float]]:
    """A browser that opens an address, waits until a condition holds in its page, takes a picture, and tells the seconds."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [*BROWSER, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        port = next(found[1] for line in process.stderr if (found := re.search(r"ws://[^:]+:(\d+)/", line)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            address = next(tab["webSocketDebuggerUrl"] for tab in json.load(answer) if tab["type"] == "page")
        with connect(address, max_size=None) as line:
            yield lambda page, ready, picture: _opened(line, page, ready, picture)
        process.terminate()
        process.wait()


def _opened(line: ClientConnection, address: str, ready: str, picture: Path) -> float:
    def ask(method: str, **values: Any) -> Any:
        line.send(json.dumps({"id": 1, "method": method, "params": values}))
        while "id" not in (answer := json.loads(line.recv())):
            pass
        return answer["result"]

    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        ask("Page.navigate", url=address)
        while not ask("Runtime.evaluate", expression=ready)["result"].get("value"):
            if time.perf_counter() - begun > PATIENCE:
                sys.exit(f"{address}: {ready} does not hold after {PATIENCE} s")
            time.sleep(0.01)
        seconds.append(time.perf_counter() - begun)
        ask("Page.navigate", url="about:blank")
    ask("Page.navigate", url=address)
    time.sleep(2 * max(seconds) + 1)
    shot = ask("Page.captureScreenshot", captureBeyondViewport=True)
    picture.write_bytes(base64.b64decode(shot["data"]))
    return statistics.median(seconds)
