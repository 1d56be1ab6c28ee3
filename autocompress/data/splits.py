"""Cut and sample rows: seeded, stratified by label, and equal on every machine."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from zlib import crc32

import numpy as np

MIN_CUT, MAX_CUT = 200, 2000  # rows; in between, a tenth of train
SMALLEST_CUT = 10  # a smaller split is useless


def cut_size(rows: int) -> int:
    """Return the rows to cut from a train split of `rows`: 10 %, at least 200 and at most 2,000, but at most a fifth."""
    return min(max(MIN_CUT, min(MAX_CUT, rows // 10)), rows // 5)


def cut_rows(keys: Sequence[Hashable], labels: np.ndarray, rows: int, seed: int, purpose: str) -> np.ndarray:
    """Return the mask (rows,) of the rows to cut: `rows` or a few less, stratified by label.

    Rows with equal keys (texts) are cut together. Texts with contradicting labels are not cut, nor is the last text of a
    label.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    consistent = [members for members in groups.values() if len({int(labels[row]) for row in members}) == 1]
    quota = shares(np.bincount(labels), rows)
    remaining = np.bincount([labels[members[0]] for members in consistent], minlength=len(quota))
    cut = np.zeros(len(labels), bool)
    for index in np.argsort(_noise(len(consistent), seed, purpose), kind="stable"):
        members = consistent[index]
        label = labels[members[0]]
        if len(members) <= quota[label] and remaining[label] > 1:
            cut[members] = True
            quota[label] -= len(members)
            remaining[label] -= 1
    return cut


def sample_rows(labels: np.ndarray, rows: int, seed: int, purpose: str) -> np.ndarray:
    """Return the ascending row numbers of a stratified sample of `rows`; all rows if there are not more."""
    if rows >= len(labels):
        return np.arange(len(labels))
    noise = _noise(len(labels), seed, purpose)
    quota = shares(np.bincount(labels), rows, at_least_one=True)
    chosen = []
    for label, count in enumerate(quota):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(noise[members], kind="stable")[:count]])
    return np.sort(np.concatenate(chosen))


def shares(counts: np.ndarray, total: int, at_least_one: bool = False) -> np.ndarray:
    """Divide `total` in proportion to `counts` (labels,), by largest remainders; no share is larger than its count.

    With `at_least_one`, every label with a count gets at least 1 if `total` is large enough.
    """
    exact = counts * (min(total, counts.sum()) / max(1, counts.sum()))
    result: np.ndarray = np.floor(exact).astype(np.int64)
    missing = round(exact.sum()) - int(result.sum())
    result[np.argsort(-(exact - result), kind="stable")[:missing]] += 1
    if at_least_one and total >= np.count_nonzero(counts):
        for label in np.flatnonzero((result == 0) & (counts > 0)):
            result[np.argmax(result)] -= 1
            result[label] += 1
    return result


def _noise(length: int, seed: int, purpose: str) -> np.ndarray:
    """Draw one number in [0, 1) per row; each purpose has its own random stream."""
    generator = np.random.Generator(np.random.PCG64([seed, crc32(purpose.encode())]))
    return generator.random(length)
