"""Latency of an artifact beside the reference's, in one process, with an interval that also holds for the next process.

Blocks of both alternate, so that noise hits both. How the sessions lie in memory differs by a percent or so from one opening to
the next: both are opened anew for each pair of blocks, and the interval is taken over pairs. What then still differs between
processes and minutes is added to it (2 %, see studies/LOG.md; `drift` knows where it is more). A pair during which others
computed is left out and taken again, as long as patience lasts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autocompress.benchmarking import noise
from autocompress.benchmarking.inputs import Feeds
from autocompress.benchmarking.noise import Moment, Patience
from autocompress.core.measurement import Interval, Latency
from autocompress.runtimes import Session

Open = Callable[[], Session]
BLOCK_CALLS = 60  # a block is warm after its first tenth of calls; call-by-call alternation would measure cold caches
FEWEST_CALLS = 12
WARM_UP = 10  # calls at the beginning of a block that are dropped
STEADY, STEADY_CALLS, MOST_WARMING = 0.05, 5, 50  # a session is warm when 5 calls take as long as the 5 before
COLD_CALLS = 15
THROUGHPUT_BATCH, LARGE_CALLS = 32, 5
DISTURBED = 1.1  # times as slow as in the fastest pair: the clock was throttled, or memory was busy
BETWEEN = 0.02  # s.d. of the logarithm of a ratio between processes, minutes apart: no single one shows it
PATIENCE = float(os.environ.get("AUTOCOMPRESS_PATIENCE", "10"))


@dataclass(frozen=True)
class TimingBudget:
    """How long to measure: pairs of blocks, and when the 95 % interval of the ratio is narrow enough to stop."""

    fewest: int = 5
    most: int = 12
    precision: float = 0.03  # half-width, relative
    seconds: float = 15.0
    block_seconds: float = 0.3  # of slow models: fast ones take fewer
    reopen: bool = True  # both sessions, for each pair
    patience: float = PATIENCE  # seconds, in all, for others to stop computing
    further: bool = True  # cold caches and throughput, too


THOROUGH_TIMING = TimingBudget()
QUICK_TIMING = TimingBudget(
    fewest=3,
    most=6,
    precision=0.06,
    seconds=5.0,
    block_seconds=0.1,
    reopen=False,
    patience=0.2 * PATIENCE,
    further=False,
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Seconds of each call in two blocks, one after the other."""

    own: np.ndarray
    reference: np.ndarray
    others: float  # cores that others kept busy meanwhile

    @property
    def log_ratio(self) -> float:
        """Of the reference's median to the own."""
        return float(np.log(np.median(self.reference) / np.median(self.own)))


def measure_latency(
    open_own: Open,
    open_reference: Open,
    feeds: Feeds,
    effort: TimingBudget = THOROUGH_TIMING,
    patience: Patience | None = None,  # one's own, where one measures again and again
) -> Latency:
    """Time a session in blocks that alternate with blocks of the reference.

    Each call takes the next of `feeds`. A block is 60 calls (fewer for slow models), its first ones dropped; the speedup
    is the geometric mean over pairs of blocks of the ratio of their medians, its 95 % interval Student's t on the logarithms,
    widened by what differs between processes.
    """
    patience = patience or Patience()
    start, waited, most = time.perf_counter(), 0.0, patience.share * effort.patience
    pairs: list[Pair] = []
    desk: _Desk | None = None
    while True:
        begun = time.perf_counter()
        if desk is None or effort.reopen:
            desk = None  # the memory of the old sessions is free before the new ones are opened
            desk = _Desk(open_own(), open_reference(), feeds, effort.block_seconds)
        pairs.append(desk.pair())
        calm = calm_pairs(pairs)
        patient = waited < most
        told = calm if patient or len(calm) >= effort.fewest else pairs
        if _are_enough(told, effort) or (len(pairs) >= 2 and time.perf_counter() - start - waited > effort.seconds):
            break
        if pairs[-1] not in calm and patient:
            noise.wait_until_quiet(most - waited)
            waited += time.perf_counter() - begun
    patience.learn(len(calm) >= effort.fewest)
    found = _latency(pairs, told if len(told) >= 2 else pairs)
    return replace(found, cold_ms=desk.cold_ms(), throughput=desk.throughput()) if effort.further else found


def calm_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Those during which nobody else computed, and neither model was far slower than it can be."""
    own, reference = (min(float(np.median(getattr(p, name))) for p in pairs) for name in ("own", "reference"))
    return [
        pair
        for pair in pairs
        if not pair.others
        and np.median(pair.own) <= DISTURBED * own
        and np.median(pair.reference) <= DISTURBED * reference
    ]


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of a mean, by Student's t (scipy-free: the few quantiles that can occur)."""
    if len(values) < 2:
        return float("inf")
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}.get(len(values), 2.2)
    return float(t * np.std(values, ddof=1) / np.sqrt(len(values)))


def _are_enough(pairs: Sequence[Pair], effort: TimingBudget) -> bool:
    if len(pairs) < effort.fewest:
        return False
    return len(pairs) >= effort.most or half_width([pair.log_ratio for pair in pairs]) <= effort.precision


def _latency(pairs: Sequence[Pair], told: Sequence[Pair]) -> Latency:
    """What is told of all pairs that were taken."""
    ratios = [pair.log_ratio for pair in told]
    middle, half = float(np.mean(ratios)), float(np.hypot(half_width(ratios), 1.96 * BETWEEN))
    return Latency(
        p50_ms=float(np.median([np.median(pair.own) for pair in told])) * 1e3,
        p95_ms=float(np.percentile(np.concatenate([pair.own for pair in told]), 95)) * 1e3,
        reference_p50_ms=float(np.median([np.median(pair.reference) for pair in told])) * 1e3,
        speedup=float(np.exp(middle)),
        speedup_interval=Interval(low=float(np.exp(middle - half)), high=float(np.exp(middle + half))),
        blocks=len(told),
        noise=_noise(len(pairs) - len(calm_pairs(pairs)), len(pairs), told is pairs),
    )


def _noise(disturbed: int, taken: int, counted: bool) -> str | None:
    """In words, whether anything else took the machine's time; null where nothing did."""
    if not disturbed:
        return None
    what = f"{disturbed} of {taken} pairs of blocks were disturbed"
    return f"{what}, and count" if counted else f"{what}, and left out"


class _Desk:
    """Two open sessions, warm, and how many calls make a block of each."""

    def __init__(self, own: Session, reference: Session, feeds: Feeds, block_seconds: float) -> None:
        self._own, self._reference, self._feeds = own, reference, feeds
        self._calls = [block_calls(warm(session, feeds), block_seconds) for session in (own, reference)]

    def pair(self) -> Pair:
        """A block of the reference and one of the model."""
        before = Moment.now()
        reference = block(self._reference, self._feeds, self._calls[1])
        own = block(self._own, self._feeds, self._calls[0])
        return Pair(own, reference, Moment.now().others_since(before))

    def cold_ms(self) -> float:
        """Median of calls that alternate with the reference's, one by one: each finds the caches full of the other model."""
        seconds = []
        for call in range(COLD_CALLS):
            feed = self._feeds[call % len(self._feeds)]
            _seconds(self._reference, feed)
            seconds.append(_seconds(self._own, feed))
        return float(np.median(seconds)) * 1e3

    def throughput(self) -> float:
        """Texts per second in large batches, all of the median length."""
        feed = sorted(self._feeds, key=lambda feed: feed["input_ids"].shape[1])[len(self._feeds) // 2]
        rows = max(THROUGHPUT_BATCH, len(feed["input_ids"]))
        large = {name: np.repeat(value[:1], rows, axis=0) for name, value in feed.items()}
        return rows / float(np.median([_seconds(self._own, large) for _ in range(LARGE_CALLS)]))


def warm(session: Session, feeds: Feeds) -> float:
    """Call it until it does not become faster any more; seconds of a call."""
    before, last = float("inf"), float("inf")
    for _ in range(MOST_WARMING // STEADY_CALLS):
        five = [_seconds(session, feeds[call % len(feeds)]) for call in range(STEADY_CALLS)]
        before, last = last, float(np.median(five))
        if last > (1 - STEADY) * before:
            break
    return last


def block_calls(seconds: float, block_seconds: float) -> int:
    """Calls in a block: 60, or what fits into so many seconds, but at least 12."""
    return int(np.clip(block_seconds / seconds, FEWEST_CALLS, BLOCK_CALLS))


def block(session: Session, feeds: Feeds, calls: int) -> np.ndarray:
    """Seconds of each call of one block, the warm-up dropped."""
    seconds = [_seconds(session, feeds[call % len(feeds)]) for call in range(calls)]
    return np.array(seconds[min(WARM_UP, calls // 6) :])


def _seconds(session: Session, feed: Mapping[str, np.ndarray]) -> float:
    start = time.perf_counter()
    session.run(feed)
    return time.perf_counter() - start
