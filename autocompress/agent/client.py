"""The host's side: send a model to a device, have it run there, get logits and timings back, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from autocompress.agent.work import Run
from autocompress.errors import AutocompressError, UsageError
from autocompress.measurement import Interval, Latency
from autocompress.store import file_sha256

PIECE = 4 << 20  # bytes of a model in one request
WAIT = 20  # seconds that a question for a run's state is held open
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0  # seconds between two attempts; doubled each time, and varied by half
AGAIN = (409, 429, 502, 503, 504)  # answers that pass by themselves


class DeviceLost(AutocompressError):
    """The device did not answer for as long as one is patient."""


class Missing(AutocompressError):
    """The device does not have (any more) what it was asked about."""


@dataclass
class RemoteDevice:
    """A device with an agent. Every call is tried again until it gets through, or patience ends. Close it by `with`."""

    url: str
    token: str
    patience: float = 600.0  # seconds without an answer
    ca: Path | None = None  # of TLS: the certificate to trust, where it is one of your own
    say: Callable[[str], None] = lambda sentence: None
    _http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        trusted = ssl.create_default_context(cafile=self.ca)
        headers = {"authorization": f"Bearer {self.token}"}
        self._http = httpx2.Client(
            base_url=self.url, headers=headers, verify=trusted, timeout=httpx2.Timeout(15.0, read=WAIT + 15.0),
            trust_env=False,
        )  # fmt: skip

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def fingerprint(self) -> dict[str, Any]:
        """What the device is."""
        found: dict[str, Any] = self._call("GET", "/v1/device").json()
        return found

    def send(self, model: Path) -> str:
        """Send a model that the device does not have yet, from where an earlier attempt ended; its sha256."""
        sha256, length = file_sha256(model), model.stat().st_size
        path = f"/v1/models/{sha256}"
        with model.open("rb") as file:
            while True:
                there = self._call("HEAD", path).headers
                if there["upload-complete"] == "?1":
                    return sha256
                offset = int(there["upload-offset"])
                while True:  # at its end, too: an agent that died there has not checked it yet
                    file.seek(offset)
                    headers = {"upload-offset": str(offset), "upload-length": str(length)}
                    answer = self._call("PATCH", path, content=file.read(PIECE), headers=headers, passed=(409,))
                    offset = int(answer.headers.get("upload-offset", -1))
                    if answer.status_code == 409:  # it came, but its answer was lost; or another host sends it, too
                        time.sleep(FIRST_PAUSE)
                        break
                    if offset == length:
                        break

    def logits(self, model: Path, rows: Sequence[np.ndarray], threads: int, batch: int, padding: int = 0) -> np.ndarray:
        """Logits (rows, labels) of rows of token ids, run in this order, `batch` at a time."""
        run = Run(
            kind="logits", model=self.send(model), threads=threads, batch=batch, padding=padding,
            lengths=tuple(map(len, rows)),
        )  # fmt: skip
        header, answer = self._run(run, rows, [model])
        return np.frombuffer(answer, "<f4").reshape(header["shape"])

    def latency(
        self, model: Path, reference: Path | None, rows: Sequence[np.ndarray], threads: int, batch: int
    ) -> tuple[Latency, float | None, dict[str, Any]]:
        """Latency in blocks that alternate with the reference's, peak memory in MB, and the conditions, on the device."""
        models = [model, *([reference] if reference else [])]
        sent = [self.send(one) for one in models]
        run = Run(
            kind="latency", model=sent[0], reference=sent[1] if reference else None, threads=threads, batch=batch,
            lengths=tuple(map(len, rows)),
        )  # fmt: skip
        found, _ = self._run(run, rows, models)
        interval = Interval(**found["latency"].pop("speedup_interval"))
        return Latency(**found["latency"], speedup_interval=interval), found["memory_mb"], found["conditions"]

    def _run(self, run: Run, rows: Sequence[np.ndarray], models: Sequence[Path]) -> tuple[dict[str, Any], bytes]:
        """Head and body of its answer. Asked for again where the device has forgotten it, by a restart, say."""
        body = run.model_dump_json().encode() + b"\n" + np.concatenate(rows).astype("<i4").tobytes()
        name = hashlib.sha256(body + secrets.token_bytes(8)).hexdigest()
        while True:
            try:
                self._call("PUT", f"/v1/runs/{name}", content=body)
                while True:
                    state = self._call("GET", f"/v1/runs/{name}", params={"wait": WAIT}).json()
                    if state["state"] == "done":
                        return dict(state["result"]), self._call("GET", f"/v1/runs/{name}/answer").content
                    if state["state"] == "failed":
                        raise AutocompressError(f"the device {self.url}: {state['error']}")
                    if state["state"] == "waiting":
                        self.say(f"the device is busy; {state['ahead']} runs go before")
            except Missing:
                for model in models:
                    self.send(model)

    def _call(self, method: str, path: str, passed: tuple[int, ...] = (), **options: Any) -> httpx2.Response:
        for attempt in self._attempts():
            try:
                answer = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                attempt(f"{type(error).__name__}: {error}")
                continue
            if answer.status_code in AGAIN and answer.status_code not in passed:
                attempt(_reason(answer))
                continue
            if answer.is_success or answer.status_code in passed:
                return answer
            if answer.status_code == 401:
                raise UsageError(f"the device {self.url}: {_reason(answer)}")
            raise (Missing if answer.status_code == 404 else AutocompressError)(
                f"the device {self.url}: {_reason(answer)}"
            )
        raise AssertionError  # the attempts end by an error

    def _attempts(self) -> Iterator[Callable[[str], None]]:
        """Attempts with longer and longer pauses. What is yielded is told why one failed."""
        start, pause = time.monotonic(), FIRST_PAUSE
        why = ""

        def failed(reason: str) -> None:
            nonlocal why
            why = reason

        while True:
            yield failed
            if time.monotonic() - start > self.patience:
                raise DeviceLost(
                    f"the device {self.url} could not be used for {self.patience:.0f} s ({why}); is its agent up?"
                )
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE)


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        return f"it answered {answer.status_code}"
