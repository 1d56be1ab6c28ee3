"""The host's side: send a model to a device, have it run there, get logits and timings back, whatever happens on the way."""

from __future__ import annotations

import hashlib
import io
import json
import random
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from autocompress.benchmarking import THOROUGH_TIMING, Feeds, TimingBudget
from autocompress.benchmarking.agent.runner import RunRequest
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.core.measurement import Interval, Latency, Timing
from autocompress.runtimes import USUAL
from autocompress.storage.checksums import file_sha256

PIECE = 4 << 20  # bytes of a model in one request
WAIT = 20  # seconds that a question for a run's state is held open
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0  # seconds between two attempts; doubled each time, and varied by half
MOST_NUMBERS, MOST_ROWS = 1_500_000, 100_000  # in one run: token ids, types apart; rows
AGAIN = (409, 429, 502, 503, 504)  # answers that pass by themselves


class Missing(AutocompressError):
    """The device does not have (any more) what it was asked about."""


@dataclass(frozen=True)
class Packed:
    """Batches of inputs as a run takes them: what is no padding, one row after another."""

    facts: Mapping[str, Any]  # fields of the run
    body: bytes

    @classmethod
    def of(cls, feeds: Feeds) -> Packed:
        """All batches but the last must be equally large, and padded at the end."""
        masks = [feed.get("attention_mask", np.ones_like(feed["input_ids"])).astype(bool) for feed in feeds]
        ids = [feed["input_ids"][mask] for feed, mask in zip(feeds, masks, strict=True)]
        padding = [feed["input_ids"][~mask] for feed, mask in zip(feeds, masks, strict=True)]
        kinds = [
            feed["token_type_ids"][mask] for feed, mask in zip(feeds, masks, strict=True) if "token_type_ids" in feed
        ]
        typed = any(part.any() for part in kinds)
        facts = {
            "batch": len(masks[0]),
            "lengths": tuple(int(length) for mask in masks for length in mask.sum(axis=1)),
            "types": typed,
            "padding": next((int(part[0]) for part in padding if part.size), 0),
        }
        numbers = np.concatenate([*ids, *(kinds if typed else [])])
        return cls(facts, numbers.astype("<i4").tobytes())


@dataclass
class RemoteDevice:
    """A device with an agent. Every call is tried again until it gets through, or patience ends. Close it by `with`."""

    url: str
    token: str
    patience: float = 600.0  # seconds without an answer
    ca: Path | None = None  # of TLS: the certificate to trust, where it is one of your own
    notify: Callable[[str], None] = lambda sentence: None
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

    def send(self, model: Path | bytes) -> str:
        """Send a model that the device does not have yet, from where an earlier attempt ended; its sha256."""
        sha256 = hashlib.sha256(model).hexdigest() if isinstance(model, bytes) else file_sha256(model)
        length = len(model) if isinstance(model, bytes) else model.stat().st_size
        path = f"/v1/models/{sha256}"
        with io.BytesIO(model) if isinstance(model, bytes) else model.open("rb") as file:
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

    def logits(
        self,
        model: Path | bytes,
        feeds: Feeds,
        threads: int,
        progress: Callable[[float], None] = lambda fraction: None,
        runtime: str = USUAL,
    ) -> np.ndarray:
        """Logits (rows, labels) of batches of inputs, one after another."""
        found = []
        for start, part in _portions(feeds):
            packed = Packed.of(part)
            run = RunRequest(kind="logits", model=self.send(model), runtime=runtime, threads=threads, **packed.facts)
            share = len(part) / len(feeds)

            def told(fraction: float, start: int = start, share: float = share) -> None:
                progress(start / len(feeds) + share * fraction)

            header, answer = self._run(run, packed.body, [model], told)
            found.append(np.frombuffer(answer, "<f4").reshape(header["shape"]))
        return np.concatenate(found)

    def latency(
        self,
        model: Path,
        reference: Path | None,
        feeds: Feeds,
        threads: int,
        effort: TimingBudget = THOROUGH_TIMING,
        fresh: bool = True,
        runtime: str = USUAL,
    ) -> Timing:
        """Latency in blocks that alternate with the reference's, on the device; `fresh`: and what a fresh process takes."""
        models = [model, *([reference] if reference else [])]
        sent = [self.send(one) for one in models]
        packed = Packed.of(feeds)
        run = RunRequest(
            kind="latency", model=sent[0], reference=sent[1] if reference else None, threads=threads, effort=effort,
            fresh=fresh, runtime=runtime, **packed.facts,
        )  # fmt: skip
        found, _ = self._run(run, packed.body, models)
        interval = Interval(**found["latency"].pop("speedup_interval"))
        return Timing(**{**found, "latency": Latency(**found["latency"], speedup_interval=interval)})

    def _run(
        self,
        run: RunRequest,
        numbers: bytes,
        models: Sequence[Path | bytes],
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> tuple[dict[str, Any], bytes]:
        """Head and body of its answer. Asked for again where the device has forgotten it, by a restart, say."""
        body = run.model_dump_json().encode() + b"\n" + numbers
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
                    progress(state["fraction"])
                    if state["state"] == "waiting":
                        self.notify(f"the device is busy; {state['ahead']} runs go before")
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


def _portions(feeds: Feeds) -> Iterator[tuple[int, Feeds]]:
    """Runs of batches that a request has room for, each with the number of its first."""
    start, rows, numbers = 0, 0, 0
    for place, feed in enumerate(feeds):
        ids = feed["input_ids"]
        rows, numbers = rows + len(ids), numbers + ids.size
        if place > start and (rows > MOST_ROWS or numbers > MOST_NUMBERS):
            yield start, feeds[start:place]
            start, rows, numbers = place, len(ids), ids.size
    yield start, feeds[start:]


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        return f"it answered {answer.status_code}"
