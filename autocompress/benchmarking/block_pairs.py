"""Pairs of blocks of calls, and which of them count: those that nothing else disturbed, as far as there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DISTURBED = 1.1  # times as slow as in the fastest pair: the clock was throttled, or memory was busy
FEWEST_CALM = 3  # pairs
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
    def log_ratio(self) -> float:
        """The logarithm of the speedup: the reference's median ÷ the candidate's."""
        return float(np.log(np.median(self.reference) / np.median(self.candidate)))


@dataclass
class CalmReference:
    """The latency of a small reference in calm moments, in seconds, as far as a measurement knows it."""

    known: float  # from earlier measurements; longer than any block where there is none
    fastest: float = float("inf")  # block of this measurement

    def note(self, reference: np.ndarray) -> bool:
        """Take a block into account, and return whether it was calm."""
        self.fastest = min(self.fastest, float(np.median(reference)))
        return self.is_calm(reference)

    def is_calm(self, reference: np.ndarray) -> bool:
        """Return whether a block was about as fast as in calm moments."""
        return bool(np.median(reference) <= DISTURBED_REFERENCE * min(self.known, self.fastest))


def select_counted(pairs: Sequence[BlockPair], fewest: int, calm: CalmReference | None = None) -> Sequence[BlockPair]:
    """Return the pairs to count when patience is used up: enough undisturbed ones, else calm ones, else steady ones, else all.

    Three pairs between calm blocks of a small reference are better than many others. Where other processes compute all the time
    no pair is undisturbed, but most are as fast as the fastest, and the others would multiply the error.
    """
    enough = fewest if calm is None else min(fewest, FEWEST_CALM)
    for chosen in (select_undisturbed(pairs, calm), _select_calm(pairs, calm)):
        if len(chosen) >= enough:
            return chosen
    steady = _select_steady(pairs)
    return steady if len(steady) >= fewest else pairs


def select_undisturbed(pairs: Sequence[BlockPair], calm: CalmReference | None = None) -> list[BlockPair]:
    """Return the pairs during which no other process computed, and that were calm, or without a small reference steady."""
    return [pair for pair in _select_calm(pairs, calm) if not pair.busy_cores]


def _select_calm(pairs: Sequence[BlockPair], calm: CalmReference | None) -> list[BlockPair]:
    """Return the pairs in which a small reference was about as fast as in calm moments, and the candidate as usual in these.

    A disturbance may begin and end within a block. The lower quartile tells what is usual: unlike the fastest block, it does
    not depend on how many pairs there are.
    """
    if calm is None:
        return _select_steady(pairs)
    between_calm = [pair for pair in pairs if all(map(calm.is_calm, pair.references))]
    medians = [float(np.median(pair.candidate)) for pair in between_calm]
    usual = DISTURBED * float(np.quantile(medians, 0.25)) if medians else 0.0
    return [pair for pair, median in zip(between_calm, medians, strict=True) if median <= usual]


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
