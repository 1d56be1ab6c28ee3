"""The host's side: send a model to a device, have it run there, and get logits and timings back despite lost connections."""

from __future__ import annotations

import hashlib
import io
import json
import random
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypedDict, Unpack

import httpx2
import numpy as np

from autocompress.benchmarking import THOROUGH_TIMING, Feeds, TimingBudget
from autocompress.benchmarking.agent.packing import PackedFeeds, split_into_runs
from autocompress.benchmarking.agent.run_request import RunRequest
from autocompress.core.errors import AutocompressError, DeviceLost, UsageError
from autocompress.core.json_types import Json
from autocompress.core.measurement import Interval, Latency, Timing
from autocompress.runtimes import DEFAULT_RUNTIME
from autocompress.storage.checksums import file_sha256

PIECE_BYTES = 4 << 20  # of a model in one request
WAIT_SECONDS = 20  # for which the agent holds a request for a run's state open
CONNECT_SECONDS = 15.0
FIRST_PAUSE, MAX_PAUSE = 0.25, 15.0  # seconds between two attempts; doubled each time, and varied by half
TEMPORARY_STATUSES = (409, 429, 502, 503, 504)  # the same request may succeed later
Model = Path | bytes


class NotOnDevice(AutocompressError):
    """The device does not have the model or run of a request, or no longer."""


class RequestOptions(TypedDict, total=False):
    """The options of a request."""

    content: bytes
    headers: dict[str, str]
    params: dict[str, float]


@dataclass
class RemoteDevice:
    """A device with an agent. Every call is repeated until it succeeds or `patience` ends. Close it by `with`."""

    url: str
    token: str
    patience: float = 600.0  # seconds without an answer
    ca: Path | None = None  # of TLS: the certificate to trust, where it is a private one
    notify: Callable[[str], None] = lambda sentence: None
    _http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.token}"},
            verify=ssl.create_default_context(cafile=self.ca),
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=WAIT_SECONDS + CONNECT_SECONDS),
            trust_env=False,
        )

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def fingerprint(self) -> Json:
        """Return the device's description of itself."""
        answer: Json = self._call("GET", "/v1/device").json()
        return answer

    def send(self, model: Model) -> str:
        """Send a model unless the device has it, continuing an interrupted upload; return its sha256."""
        sha256 = hashlib.sha256(model).hexdigest() if isinstance(model, bytes) else file_sha256(model)
        length = len(model) if isinstance(model, bytes) else model.stat().st_size
        path = f"/v1/models/{sha256}"
        with io.BytesIO(model) if isinstance(model, bytes) else model.open("rb") as file:
            while True:
                upload = self._call("HEAD", path).headers
                if upload["upload-complete"] == "?1":
                    return sha256
                self._send_pieces(file, path, int(upload["upload-offset"]), length)

    def logits(
        self,
        model: Model,
        feeds: Feeds,
        threads: int,
        progress: Callable[[float], None] = lambda fraction: None,
        runtime: str = DEFAULT_RUNTIME,
    ) -> np.ndarray:
        """Return the outputs (units, width) of batches of inputs, one after another."""
        logits = []
        for start, part in split_into_runs(feeds):
            packed = PackedFeeds.pack(part)
            run = RunRequest(kind="logits", model=self.send(model), runtime=runtime, threads=threads, **packed.fields)
            share = len(part) / len(feeds)

            def report_share(fraction: float, start: int = start, share: float = share) -> None:
                progress(start / len(feeds) + share * fraction)

            header, answer = self._run(run, packed.body, [model], report_share)
            logits.append(np.frombuffer(answer, "<f4").reshape(header["shape"]))
        return np.concatenate(logits)

    def latency(
        self,
        model: Path,
        reference: Path | None,
        feeds: Feeds,
        threads: int,
        budget: TimingBudget = THOROUGH_TIMING,
        fresh: bool = True,
        runtime: str = DEFAULT_RUNTIME,
    ) -> Timing:
        """Time a model on the device in blocks that alternate with the reference's; `fresh`: also measure a fresh process."""
        models = [model, *([reference] if reference else [])]
        hashes = [self.send(path) for path in models]
        packed = PackedFeeds.pack(feeds)
        run = RunRequest(
            kind="latency", model=hashes[0], reference=hashes[1] if reference else None, threads=threads, effort=budget,
            fresh=fresh, runtime=runtime, **packed.fields,
        )  # fmt: skip
        header, _ = self._run(run, packed.body, models)
        interval = Interval(**header["latency"].pop("speedup_interval"))
        return Timing(**{**header, "latency": Latency(**header["latency"], speedup_interval=interval)})

    def _send_pieces(self, file: IO[bytes], path: str, offset: int, length: int) -> None:
        """Send a model's bytes from `offset` on, until all are sent or the device expects another offset.

        A complete upload is sent an empty piece: an agent that was killed at its end has not checked the model yet.
        """
        while True:
            file.seek(offset)
            headers = {"upload-offset": str(offset), "upload-length": str(length)}
            answer = self._call("PATCH", path, content=file.read(PIECE_BYTES), headers=headers, accepted=(409,))
            offset = int(answer.headers.get("upload-offset", -1))
            if answer.status_code == 409:  # the piece arrived but its answer was lost, or another host sends the model
                time.sleep(FIRST_PAUSE)
                return
            if offset == length:
                return

    def _run(
        self,
        run: RunRequest,
        numbers: bytes,
        models: Sequence[Model],
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> tuple[Json, bytes]:
        """Return header and body of a run's result. A run that the device has lost, by a restart, is submitted again."""
        body = run.model_dump_json().encode() + b"\n" + numbers
        path = f"/v1/runs/{hashlib.sha256(body + secrets.token_bytes(8)).hexdigest()}"
        while True:
            try:
                self._call("PUT", path, content=body)
                header = self._wait_for_result(path, progress)
                return header, self._call("GET", f"{path}/answer").content
            except NotOnDevice:
                for model in models:
                    self.send(model)

    def _wait_for_result(self, path: str, progress: Callable[[float], None]) -> Json:
        while True:
            answer = self._call("GET", path, params={"wait": WAIT_SECONDS}).json()
            if answer["state"] == "done":
                return dict(answer["result"])
            if answer["state"] == "failed":
                raise AutocompressError(f"the device {self.url}: {answer['error']}")
            progress(answer["fraction"])
            if answer["state"] == "waiting":
                self.notify(f"the device {self.url} is busy; {answer['ahead']} runs come first")

    def _call(
        self, method: str, path: str, accepted: tuple[int, ...] = (), **options: Unpack[RequestOptions]
    ) -> httpx2.Response:
        """Send a request until it succeeds or has one of the `accepted` statuses.

        DeviceLost after `patience`; NotOnDevice, UsageError or AutocompressError for an answer that repeating would not
        change.
        """
        for note_failure in self._attempts():
            try:
                answer = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                note_failure(f"{type(error).__name__}: {error}")
                continue
            if answer.is_success or answer.status_code in accepted:
                return answer
            if answer.status_code in TEMPORARY_STATUSES:
                note_failure(_read_reason(answer))
                continue
            kind = {401: UsageError, 404: NotOnDevice}.get(answer.status_code, AutocompressError)
            raise kind(f"the device {self.url}: {_read_reason(answer)}")
        raise AssertionError  # the attempts end with an error

    def _attempts(self) -> Iterator[Callable[[str], None]]:
        """Yield at each attempt, after longer and longer pauses, a function that takes the reason of a failure."""
        start, pause = time.monotonic(), FIRST_PAUSE
        last_reason = ""

        def note_failure(reason: str) -> None:
            nonlocal last_reason
            last_reason = reason

        while True:
            yield note_failure
            if time.monotonic() - start > self.patience:
                raise DeviceLost(
                    f"the device {self.url} could not be used for {self.patience:.0f} s ({last_reason}); is its agent "
                    "running?"
                )
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, MAX_PAUSE)


def _read_reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        return f"it answered with status {answer.status_code}"
