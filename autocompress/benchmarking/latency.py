"""Latency of an artifact beside the reference's, in one process, with an interval that also holds for the next process.

Blocks of both alternate, so that noise hits both. How the sessions lie in memory changes the latency by about a percent from
one opening to the next: both are opened anew after each pair of blocks that counts, and the interval is taken over pairs.
Differences between processes and minutes are added to it (2 %, see studies/LOG.md; a large teacher varies more, see `drift`).
A pair during which other processes computed is left out and taken again, within `patience`.

Programs on other machines of the same host share a core's caches and units. No counter shows them, but a small reference does,
whose calm latency is known: a block of the candidate begins when the reference is calm, on whichever core that is, and counts
if the reference is still calm when it ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autocompress.benchmarking import noise
from autocompress.benchmarking.block_pairs import BlockPair, CalmReference, select_counted, select_undisturbed
from autocompress.benchmarking.inputs import Feeds
from autocompress.benchmarking.noise import AdaptivePatience, Moment
from autocompress.core.measurement import Interval, Latency
from autocompress.runtimes import Session

OpenSession = Callable[[], Session]
BLOCK_CALLS = 60  # a block is warm after its first tenth of calls; call-by-call alternation would measure cold caches
MIN_BLOCK_CALLS = 12
WARM_UP_CALLS = 10  # calls at the beginning of a block that are dropped
STEADY, STEADY_CALLS, MAX_WARM_UP = 0.05, 5, 50  # a session is warm when 5 calls take as long as the 5 before
COLD_CALLS = 15
THROUGHPUT_BATCH, THROUGHPUT_CALLS = 32, 5
UNKNOWN_MS = 1e9  # of calm moments: then the fastest block so far is taken for calm
SCOUTING_SECONDS = 3.0  # for which a small reference is timed before the first pair where its calm latency is unknown
CALM_BLOCK_SECONDS, MIN_CALM_CALLS = 0.05, 6  # of a block between calm blocks of a reference: calm moments may be short
BETWEEN_PROCESSES = (
    0.02  # s.d. of the logarithm of a ratio between processes, minutes apart: no single process shows it
)
PATIENCE = float(os.environ.get("AUTOCOMPRESS_PATIENCE", "10"))


@dataclass(frozen=True)
class TimingBudget:
    """The length of a measurement: pairs of blocks, and the width of the ratio's 95 % interval at which it stops."""

    fewest: int = 5  # pairs
    most: int = 12  # pairs
    precision: float = 0.03  # half-width of the interval, relative
    seconds: float = 15.0
    block_seconds: float = 0.3  # of slow models; fast models need less
    reopen: bool = True  # open both sessions anew after each undisturbed pair
    patience: float = PATIENCE  # seconds in all to wait for other processes
    further: bool = True  # also measure cold caches and throughput
    learns: bool = True  # whether later measurements wait less if this one stays disturbed
    calm_reference_ms: float | None = None  # of a small reference: its latency in calm moments, or `UNKNOWN_MS`


THOROUGH_TIMING = TimingBudget()
QUICK_TIMING = TimingBudget(
    fewest=3,
    most=10,
    precision=0.045,
    seconds=6.0,
    block_seconds=0.1,
    reopen=False,
    patience=0.6 * PATIENCE,
    further=False,
)
TEACHER_TIMING = TimingBudget(  # short: how the teacher varies between measurements outweighs the error of one
    fewest=3, most=3, block_seconds=0.05, reopen=False, patience=0.3 * PATIENCE, further=False, learns=False
)
CACHES_TIMING = TimingBudget(
    fewest=2, most=2, block_seconds=0.02, reopen=False, patience=0.0
)  # cold caches, throughput


def measure_latency(
    open_candidate: OpenSession,
    open_reference: OpenSession,
    feeds: Feeds,
    budget: TimingBudget = THOROUGH_TIMING,
    patience: AdaptivePatience | None = None,  # shared by consecutive measurements
    move: Callable[[], None] = lambda: None,  # to another core
) -> Latency:
    """Time a session in blocks that alternate with blocks of the reference.

    Each call takes the next of `feeds`. A block is 60 calls (fewer for slow models), its first ones dropped; the speedup
    is the geometric mean over pairs of blocks of the ratio of their medians, its 95 % interval Student's t on the logarithms,
    widened by the differences between processes.
    """
    patience = patience or AdaptivePatience()
    start, waited, max_wait = time.perf_counter(), 0.0, patience.share * budget.patience
    calm = None if budget.calm_reference_ms is None else CalmReference(budget.calm_reference_ms / 1e3)
    pairs: list[BlockPair] = []
    undisturbed: Sequence[BlockPair] = pairs
    sessions: _SessionPair | None = None
    while True:
        if sessions is None or (budget.reopen and pairs[-1] in undisturbed):
            sessions = None  # frees the memory of the old sessions before the new ones are opened
            sessions = _SessionPair(open_candidate(), open_reference(), feeds, budget.block_seconds, calm, move)
        waited += sessions.await_calm(max_wait - waited)
        pair_start = time.perf_counter()
        pairs.append(sessions.time_pair())
        undisturbed = select_undisturbed(pairs, calm)
        is_patient = waited < max_wait
        counted = undisturbed if is_patient else select_counted(pairs, budget.fewest, calm)
        has_enough = not is_patient and max_wait > 0 and len(undisturbed) >= budget.fewest
        timing_seconds = time.perf_counter() - start - waited
        is_late = len(pairs) >= 2 and timing_seconds > budget.seconds
        if has_enough or is_late or _is_sufficient(counted, budget):
            break
        if pairs[-1] not in undisturbed and is_patient:
            if pairs[-1].busy_cores:
                noise.wait_until_quiet(max_wait - waited)
            waited += time.perf_counter() - pair_start
    if budget.learns:
        patience.learn(len(undisturbed) >= budget.fewest)
    counted = counted if len(counted) >= 2 else select_counted(pairs, budget.fewest, calm)
    latency = _summarize(counted, _describe_noise(pairs, undisturbed, counted))
    latency = latency if calm is None else replace(latency, fastest_reference_ms=1e3 * calm.fastest)
    if not budget.further:
        return latency
    return replace(latency, cold_ms=sessions.measure_cold_ms(), throughput=sessions.measure_throughput())


def half_width(values: Sequence[float]) -> float:
    """Return the half-width of the 95 % interval of a mean, by Student's t (without scipy: few quantiles can occur)."""
    if len(values) < 2:
        return float("inf")
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}.get(len(values), 2.2)
    return float(t * np.std(values, ddof=1) / np.sqrt(len(values)))


def warm(session: Session, feeds: Feeds) -> float:
    """Call a session until it gets no faster; return the seconds of a call."""
    before, last = float("inf"), float("inf")
    for _ in range(MAX_WARM_UP // STEADY_CALLS):
        seconds = [_time_call(session, feeds[call % len(feeds)]) for call in range(STEADY_CALLS)]
        before, last = last, float(np.median(seconds))
        if last > (1 - STEADY) * before:
            break
    return last


def block_calls(seconds: float, block_seconds: float, fewest: int = MIN_BLOCK_CALLS) -> int:
    """Return the number of calls in a block: 60, or as many as fit into `block_seconds`, but at least `fewest`."""
    return int(np.clip(block_seconds / seconds, fewest, BLOCK_CALLS))


def block(session: Session, feeds: Feeds, calls: int, first: int = 0) -> np.ndarray:
    """Return the seconds of each call of one block, without the warm-up; its first call takes the input `first`."""
    seconds = [_time_call(session, feeds[call % len(feeds)]) for call in range(first, first + calls)]
    return np.array(seconds[min(WARM_UP_CALLS, calls // 6) :])


def _is_sufficient(pairs: Sequence[BlockPair], budget: TimingBudget) -> bool:
    if len(pairs) < budget.fewest:
        return False
    return len(pairs) >= budget.most or half_width([pair.log_ratio for pair in pairs]) <= budget.precision


def _summarize(counted: Sequence[BlockPair], noise: str | None) -> Latency:
    """Compute the latency from the counted pairs."""
    ratios = [pair.log_ratio for pair in counted]
    middle, half = float(np.mean(ratios)), float(np.hypot(half_width(ratios), 1.96 * BETWEEN_PROCESSES))
    return Latency(
        p50_ms=float(np.median([np.median(pair.candidate) for pair in counted])) * 1e3,
        p95_ms=float(np.percentile(np.concatenate([pair.candidate for pair in counted]), 95)) * 1e3,
        reference_p50_ms=float(np.median([np.median(pair.reference) for pair in counted])) * 1e3,
        speedup=float(np.exp(middle)),
        speedup_interval=Interval(low=float(np.exp(middle - half)), high=float(np.exp(middle + half))),
        blocks=len(counted),
        noise=noise,
    )


def _describe_noise(
    pairs: Sequence[BlockPair], undisturbed: Sequence[BlockPair], counted: Sequence[BlockPair]
) -> str | None:
    """Return a sentence on the disturbed pairs; null where there are none."""
    disturbed, included = len(pairs) - len(undisturbed), sum(pair not in undisturbed for pair in counted)
    if not disturbed:
        return None
    treatment = (
        "left out" if not included else "included" if included == disturbed else f"the {included} fastest included"
    )
    return f"{disturbed} of {len(pairs)} pairs of blocks were disturbed, and {treatment}"


class _SessionPair:
    """Two open, warm sessions, and how many calls make a block of each."""

    def __init__(
        self, candidate: Session, reference: Session, feeds: Feeds, block_seconds: float,
        calm: CalmReference | None, move: Callable[[], None],
    ) -> None:  # fmt: skip
        self._candidate, self._reference, self._feeds, self._calm, self._move = candidate, reference, feeds, calm, move
        length = (block_seconds, MIN_BLOCK_CALLS) if calm is None else (CALM_BLOCK_SECONDS, MIN_CALM_CALLS)
        self._candidate_calls = block_calls(warm(candidate, feeds), *length)
        self._reference_calls = block_calls(warm(reference, feeds), *length)
        self._candidate_blocks = self._reference_blocks = 0
        self._begun: list[np.ndarray] = []  # the reference's block that the next pair begins with

    def await_calm(self, seconds: float) -> float:
        """Time blocks of a small reference, on one core after another, until it is calm, or `seconds` are over.

        Where its calm latency is unknown, it is looked for first. The last block belongs to the next pair. Return the seconds
        of the others.
        """
        if self._calm is None:
            return 0.0
        start = begun = time.perf_counter()
        scouting = 0.0 if min(self._calm.known, self._calm.fastest) < UNKNOWN_MS / 1e3 else SCOUTING_SECONDS
        while True:
            self._begun = [self._time_reference()]
            passed = time.perf_counter() - start
            if passed >= seconds or (self._calm.note(self._begun[0]) and passed >= scouting):
                return begun - start
            self._move()
            begun = time.perf_counter()

    def time_pair(self) -> BlockPair:
        """Time a block of the reference, one of the candidate, and where the reference is small another one of it."""
        before = Moment.now()
        references = self._begun or [self._time_reference()]
        first = self._candidate_blocks * self._candidate_calls
        candidate = block(self._candidate, self._feeds, self._candidate_calls, first)
        self._candidate_blocks, self._begun = self._candidate_blocks + 1, []
        if self._calm is not None:
            references.append(self._time_reference())
            for reference in references:
                self._calm.note(reference)
        return BlockPair(candidate, tuple(references), Moment.now().others_since(before))

    def _time_reference(self) -> np.ndarray:
        """Time a block of the reference; each block goes on with the inputs where the last one ended."""
        first = self._reference_blocks * self._reference_calls
        self._reference_blocks += 1
        return block(self._reference, self._feeds, self._reference_calls, first)

    def measure_cold_ms(self) -> float:
        """Return the median of calls that alternate with the reference's: each finds the caches full of the other model."""
        seconds = []
        for call in range(COLD_CALLS):
            feed = self._feeds[call % len(self._feeds)]
            _time_call(self._reference, feed)
            seconds.append(_time_call(self._candidate, feed))
        return float(np.median(seconds)) * 1e3

    def measure_throughput(self) -> float:
        """Return the texts per second in large batches, all of the median length."""
        feed = sorted(self._feeds, key=lambda feed: feed["input_ids"].shape[1])[len(self._feeds) // 2]
        rows = max(THROUGHPUT_BATCH, len(feed["input_ids"]))
        large = {name: np.repeat(value[:1], rows, axis=0) for name, value in feed.items()}
        return rows / float(np.median([_time_call(self._candidate, large) for _ in range(THROUGHPUT_CALLS)]))


def _time_call(session: Session, feed: Mapping[str, np.ndarray]) -> float:
    start = time.perf_counter()
    session.run(feed)
    return time.perf_counter() - start
