"""Augmentation of the rows of the distillation set."""

from __future__ import annotations

import numpy as np

from autocompress.data.augmentation import Specials, augment


def test_augment_keeps_special_tokens_and_lengths() -> None:
    specials = Specials(frozenset({0, 1, 2}), mask=9)
    rows = [np.array([1, *range(10, 10 + n), 2]) for n in range(1, 30)]
    copies, types = augment(rows, None, 3 * len(rows), specials, seed=0)
    assert types is None
    assert len(copies) == 3 * len(rows)
    longest = np.quantile([len(row) for row in rows], 0.95)
    for copy in copies:
        assert copy[0] == 1
        assert copy[-1] == 2
        assert len(copy) >= 3
        assert not set(copy[1:-1]) & {1, 2}
    assert any(9 in copy for copy in copies)
    assert any(len(copy) > len(row) for copy, row in zip(copies, rows * 3, strict=True))
    assert max(len(copy) for copy in copies) <= max(longest, len(rows[-1]))
    again, _ = augment(rows, None, 3 * len(rows), specials, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(copies, again, strict=True))


def test_augment_only_masks_words_of_pairs() -> None:
    specials = Specials(frozenset({0, 1, 2}), mask=9)
    rows = [np.array([1, *range(10, 20), 2, *range(20, 30), 2])] * 5
    types = [np.array([0] * 12 + [1] * 11)] * 5
    copies, kinds = augment(rows, types, 10, specials, seed=0)
    assert kinds is not None
    assert all(np.array_equal(kind, types[0]) for kind in kinds)
    for copy in copies:
        assert np.all((copy == rows[0]) | (copy == 9))
        assert np.array_equal(np.flatnonzero(copy == 2), np.flatnonzero(rows[0] == 2))
