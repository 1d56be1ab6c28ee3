"""Detect whether other processes compute on this machine, which would falsify a latency.

Read from Linux's counters of CPU time (steps of 10 ms, see proc_stat(5)); on other systems the machine counts as quiet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COUNTERS = Path("/proc/stat")
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/physical_package_id"
USER, NICE, SYSTEM, _IDLE, _IO_WAIT, IRQ, SOFT_IRQ, STEAL = range(8)  # columns of the counters
ROUNDING_SECONDS, TOLERATED_SHARE = 0.05, 0.1  # CPU time of others that is tolerated: rounding, and a share of the time
OBSERVATION_SECONDS = 0.2  # long enough to see whether the machine is quiet again


@dataclass(frozen=True)
class Moment:
    """The counters at a moment, in seconds."""

    clock: float
    all_processes: float  # CPU time used or stolen, on all cores
    this_process: float  # CPU time of this process

    @classmethod
    def now(cls) -> Moment:
        """Read the counters."""
        times = os.times()
        return cls(time.perf_counter(), _read_cpu_seconds(), times.user + times.system)

    def others_since(self, before: Moment) -> float:
        """Return how many cores other processes kept busy since `before`; 0 for no more than the counters can resolve."""
        seconds = self.clock - before.clock
        others = (self.all_processes - before.all_processes) - (self.this_process - before.this_process)
        return others / seconds if others > ROUNDING_SECONDS + TOLERATED_SHARE * seconds else 0.0


@dataclass
class Pinning:
    """The cores that this thread is kept on, and those that it may move to; cores are numbers of the system."""

    others: tuple[int, ...]  # on the same processor, so that memory is as near
    cores: int | None  # how many it is kept on; null: all

    def move(self) -> None:
        """Keep this thread on the next core instead: other programs may disturb that one less.

        No effect where a model has several threads, because those that a runtime has started would stay.
        """
        if self.cores == 1:
            (current,) = os.sched_getaffinity(0)
            place = self.others.index(current)
            os.sched_setaffinity(0, {self.others[place - 1]})


@contextmanager
def pin_to_cores(threads: int) -> Iterator[Pinning]:
    """Keep this thread, and those it starts, on as many cores as a model has threads: the system would move them.

    Nothing is pinned where the machine has no more cores anyway, or the system cannot pin.
    """
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    if len(cores) <= threads:
        yield Pinning((), None)
        return
    os.sched_setaffinity(0, cores[-threads:])  # the system itself mostly uses the first cores
    try:
        yield Pinning(tuple(core for core in cores if _processor_of(core) == _processor_of(cores[-1])), threads)
    finally:
        os.sched_setaffinity(0, cores)


class AdaptivePatience:
    """The fraction of a patience to spend on waiting for other processes: halved after each measurement that stayed disturbed,
    because some machines are never idle."""

    def __init__(self) -> None:
        self.share = 1.0

    def learn(self, succeeded: bool) -> None:
        """Take into account whether a measurement got enough undisturbed pairs in the end."""
        self.share = 1.0 if succeeded else self.share / 2


def wait_until_quiet(seconds: float) -> None:
    """Return as soon as no other process computes, or after `seconds`."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        before = Moment.now()
        time.sleep(OBSERVATION_SECONDS)
        if not Moment.now().others_since(before):
            return


def _processor_of(core: int) -> str:
    """Return the number of the processor that a core belongs to; an empty text where the system does not tell."""
    file = Path(TOPOLOGY.format(core))
    return file.read_text(encoding="ascii") if file.exists() else ""


def _read_cpu_seconds() -> float:
    if not COUNTERS.exists():
        return 0.0
    columns = [int(value) for value in COUNTERS.read_text(encoding="ascii").partition("\n")[0].split()[1:]]
    ticks = sum(columns[column] for column in (USER, NICE, SYSTEM, IRQ, SOFT_IRQ, STEAL))
    return ticks / os.sysconf("SC_CLK_TCK")
