"""Cut and sample rows: seeded, stratified by label, and the same on every machine."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from zlib import crc32

import numpy as np

LEAST_CUT, MOST_CUT = 200, 2000  # rows; a tenth of train in between
SMALLEST_CUT = 10  # below this a split tells nothing


def cut_size(rows: int) -> int:
    """Rows to cut from a train split of `rows`: 10 %, at least 200 and at most 2,000, but never over a fifth."""
    return min(max(LEAST_CUT, min(MOST_CUT, rows // 10)), rows // 5)


def cut_rows(keys: Sequence[Hashable], labels: np.ndarray, rows: int, seed: int, purpose: str) -> np.ndarray:
    """Mask (rows,) of the rows to cut: `rows` or a few less, stratified; rows with equal keys (texts) stay together.

    Texts that stand there with different labels stay where they are, and so does at least one text of every label.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    pure = [members for members in groups.values() if len({int(labels[row]) for row in members}) == 1]
    quota = shares(np.bincount(labels), rows)
    left = np.bincount([labels[members[0]] for members in pure], minlength=len(quota))
    cut = np.zeros(len(labels), bool)
    for index in np.argsort(_noise(len(pure), seed, purpose), kind="stable"):
        members = pure[index]
        label = labels[members[0]]
        if len(members) <= quota[label] and left[label] > 1:
            cut[members] = True
            quota[label] -= len(members)
            left[label] -= 1
    return cut


def sample_rows(labels: np.ndarray, rows: int, seed: int, purpose: str) -> np.ndarray:
    """Row numbers, ascending, of a stratified sample of `rows`; all of them where there are no more."""
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
    """`total` divided in proportion to `counts` (labels,), by largest remainders; none gets more than its count.

    With `at_least_one` nobody present gets nothing, as far as `total` reaches.
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
    """One number in [0, 1) for each row; each purpose has a stream of its own."""
    generator = np.random.Generator(np.random.PCG64([seed, crc32(purpose.encode())]))
    return generator.random(length)
