"""Keep workers from computing while another worker measures latency: a latency taken beside a busy core is worthless.

Workers that compute share a file lock; trainers release it every few steps. A measurement holds the lock exclusively.
A second lock, the turnstile, keeps workers from taking the first one again before a waiting measurement gets it.
The system releases both locks when their process ends, however it ends.
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
def hold_exclusively(root: Path) -> Iterator[float]:
    """Hold the device for a measurement; yield the seconds until every other worker had released it."""
    start = time.monotonic()
    with _open(root, "turnstile") as turnstile, _open(root, "device") as device:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(device, fcntl.LOCK_EX)
        yield time.monotonic() - start


@contextmanager
def share(root: Path) -> Iterator[None]:
    """Share the device with other workers, for a few seconds of work other than training."""
    with share_with_pauses(root):
        yield


@contextmanager
def share_with_pauses(root: Path) -> Iterator[Callable[[Progress], Progress]]:
    """Share the device with other workers; yield a wrapper of `progress` that lets measurements pass at each call."""
    with _open(root, "turnstile") as turnstile, _open(root, "device") as device:

        def enter() -> None:
            fcntl.flock(turnstile, fcntl.LOCK_EX)  # waits behind a waiting measurement
            fcntl.flock(device, fcntl.LOCK_SH)
            fcntl.flock(turnstile, fcntl.LOCK_UN)

        def with_pauses(progress: Progress) -> Progress:
            def step(fraction: float) -> None:
                progress(fraction)
                fcntl.flock(device, fcntl.LOCK_UN)
                enter()

            return step

        enter()
        yield with_pauses


def _open(root: Path, name: str) -> IO[bytes]:
    root.mkdir(parents=True, exist_ok=True)
    return (root / f".{name}.lock").open("wb")
