"""Whether anybody else computes on this machine: a latency that was taken meanwhile is not the model's own.

From Linux's counters of CPU time (steps of 10 ms, see proc_stat(5)); elsewhere the machine counts as quiet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COUNTERS = Path("/proc/stat")
USER, NICE, SYSTEM, _IDLE, _WAIT, IRQ, SOFT_IRQ, STEAL = range(8)  # their places
STEPS_SECONDS, SHARE = 0.05, 0.1  # of CPU time that may be others': rounding of the counters, and a part of the time
POLL_SECONDS = 0.2  # how long one has to look to see whether it is quiet again


@dataclass(frozen=True)
class Moment:
    """The counters at a moment, in seconds."""

    clock: float
    everybody: float  # CPU time that was used or stolen, on all cores
    own: float  # this process's part

    @classmethod
    def now(cls) -> Moment:
        """Read them."""
        spent = os.times()
        return cls(time.perf_counter(), _everybody(), spent.user + spent.system)

    def others_since(self, before: Moment) -> float:
        """Cores that others kept busy since then; 0 where it is not more than the counters can tell."""
        seconds = self.clock - before.clock
        others = (self.everybody - before.everybody) - (self.own - before.own)
        return others / seconds if others > STEPS_SECONDS + SHARE * seconds else 0.0


@contextmanager
def pinned(threads: int) -> Iterator[int | None]:
    """Keep this thread, and those that it starts, on as many cores as a model has threads: the system would move them.

    Gives the number of cores; null where there are no more anyway, or the system cannot do it.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) <= threads:
        yield None
        return
    os.sched_setaffinity(0, sorted(cores)[-threads:])  # the first ones are what the system itself uses most
    try:
        yield threads
    finally:
        os.sched_setaffinity(0, cores)


class Patience:
    """How long calm is worth waiting for: half as long after each measurement that it did not come to, since some machines are
    never calm."""

    def __init__(self) -> None:
        self.share = 1.0

    def learn(self, calm: bool) -> None:
        """Whether a measurement came to enough calm pairs in the end."""
        self.share = 1.0 if calm else self.share / 2


def wait_until_quiet(seconds: float) -> None:
    """Return when nobody else computes any more, or after so many seconds."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        before = Moment.now()
        time.sleep(POLL_SECONDS)
        if not Moment.now().others_since(before):
            return


def _everybody() -> float:
    if not COUNTERS.exists():
        return 0.0
    counted = [int(value) for value in COUNTERS.read_text(encoding="ascii").partition("\n")[0].split()[1:]]
    ticks = sum(counted[place] for place in (USER, NICE, SYSTEM, IRQ, SOFT_IRQ, STEAL))
    return ticks / os.sysconf("SC_CLK_TCK")
