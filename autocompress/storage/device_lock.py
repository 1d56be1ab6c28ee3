"""Nobody computes while somebody measures: a latency taken beside a busy core is worthless.

Workers that compute share a file lock, and trainers step aside every few steps; a measurement takes it alone. The
turnstile keeps others from slipping in again before a waiting measurement. Locks end with their process, however it ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

Progress = Callable[[float], None]


@contextmanager
def measuring(root: Path) -> Iterator[float]:
    """Hold the device alone; gives the seconds it took until every other worker had stepped aside."""
    start = time.monotonic()
    with _open(root, "turnstile") as turnstile, _open(root, "device") as device:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(device, fcntl.LOCK_EX)
        yield time.monotonic() - start


@contextmanager
def computing(root: Path) -> Iterator[None]:
    """Share the device for a few seconds of work other than training."""
    with training(root):
        yield


@contextmanager
def training(root: Path) -> Iterator[Callable[[Progress], Progress]]:
    """Share the device with other workers; gives a wrapper of `progress` that lets measurements pass at each call."""
    with _open(root, "turnstile") as turnstile, _open(root, "device") as device:

        def enter() -> None:
            fcntl.flock(turnstile, fcntl.LOCK_EX)  # waits behind a measurement that waits
            fcntl.flock(device, fcntl.LOCK_SH)
            fcntl.flock(turnstile, fcntl.LOCK_UN)

        def stepping_aside(progress: Progress) -> Progress:
            def step(fraction: float) -> None:
                progress(fraction)
                fcntl.flock(device, fcntl.LOCK_UN)
                enter()

            return step

        enter()
        yield stepping_aside


def _open(root: Path, name: str) -> IO[bytes]:
    root.mkdir(parents=True, exist_ok=True)
    return (root / f".{name}.lock").open("wb")
