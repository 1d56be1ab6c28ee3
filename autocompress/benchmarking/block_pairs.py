"""Pairs of blocks of calls, and which of them count: those that nothing else disturbed, as far as there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DISTURBED = 1.1  # times as slow as in the fastest pair: the clock was throttled, or memory was busy
DISTURBED_REFERENCE = 1.2  # times as slow as in calm moments of the study: others use the core's caches or units


@dataclass(frozen=True, eq=False)
class BlockPair:
    """Seconds of each call in a block of the candidate, and in blocks of the reference: before it and, if small, after it."""

    candidate: np.ndarray
    references: tuple[np.ndarray, ...]
    busy_cores: float  # cores that other processes kept busy meanwhile

    @property
    def reference(self) -> np.ndarray:
        """All calls of the reference."""
        return np.concatenate(self.references)

    @property
    def slower_reference(self) -> float:
        """The median of the reference's slower block."""
        return max(float(np.median(reference)) for reference in self.references)

    @property
    def log_ratio(self) -> float:
        """The logarithm of the speedup: the reference's median ÷ the candidate's."""
        return float(np.log(np.median(self.reference) / np.median(self.candidate)))


def select_counted(
    pairs: Sequence[BlockPair], fewest: int, calm_reference_ms: float | None = None
) -> Sequence[BlockPair]:
    """Return the pairs to count when patience is used up: enough undisturbed ones, else calm ones, else steady ones, else all.

    Where other processes compute all the time no pair is undisturbed, but most are as fast as the fastest, and the others would
    multiply the error.
    """
    steady = _select_steady(pairs)
    for chosen in (select_undisturbed(pairs, calm_reference_ms), _select_calm(pairs, calm_reference_ms), steady):
        if len(chosen) >= fewest:
            return chosen
    return pairs


def select_undisturbed(pairs: Sequence[BlockPair], calm_reference_ms: float | None = None) -> list[BlockPair]:
    """Return the pairs during which no other process computed, and that were calm, or without a small reference steady."""
    return [pair for pair in _select_calm(pairs, calm_reference_ms) if not pair.busy_cores]


def _select_calm(pairs: Sequence[BlockPair], calm_reference_ms: float | None) -> list[BlockPair]:
    """Return the pairs in which a small reference was about as fast as in calm moments, and the candidate as usual in these.

    A disturbance may begin and end within a block. The lower quartile tells what is usual: unlike the fastest block, it does
    not depend on how many pairs there are.
    """
    if calm_reference_ms is None:
        return _select_steady(pairs)
    limit = calm_limit(pairs, calm_reference_ms)
    calm = [pair for pair in pairs if pair.slower_reference <= limit]
    medians = [float(np.median(pair.candidate)) for pair in calm]
    usual = DISTURBED * float(np.quantile(medians, 0.25)) if calm else 0.0
    return [pair for pair, median in zip(calm, medians, strict=True) if median <= usual]


def calm_limit(pairs: Sequence[BlockPair], calm_reference_ms: float | None) -> float:
    """Return the seconds of a call up to which a small reference counts as calm, given the pairs so far; else infinity."""
    if calm_reference_ms is None:
        return float("inf")
    medians = [float(np.median(reference)) for pair in pairs for reference in pair.references]
    return DISTURBED_REFERENCE * min(calm_reference_ms / 1e3, *medians, float("inf"))


def _select_steady(pairs: Sequence[BlockPair]) -> list[BlockPair]:
    """Return the pairs in which no model was far slower than in its fastest block."""
    fastest_candidate = min(float(np.median(pair.candidate)) for pair in pairs)
    fastest_reference = min(float(np.median(pair.reference)) for pair in pairs)
    return [
        pair
        for pair in pairs
        if np.median(pair.candidate) <= DISTURBED * fastest_candidate
        and np.median(pair.reference) <= DISTURBED * fastest_reference
    ]
