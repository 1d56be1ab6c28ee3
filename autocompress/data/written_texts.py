"""Texts that an n-gram model of the user's own texts writes, for the teacher to label and small candidates to learn from.

A candidate learns a few thousand rows by heart and is farther from its teacher on all others. Sentences that go from one text
over into another at a few shared words are new, and made of the words and phrases of the field. A model of whole word histories
would only repeat the texts: where its last words were always followed by the same one, it forgets the first of them at half
of the places. Sampling from an n-gram model: Shannon 1948, "A Mathematical Theory of Communication"; teaching on sampled
n-grams: Tang et al. 2019, "Natural Language Generation for Effective Knowledge Distillation".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VERSION = 1
ORDER = 3  # words of a history, at most
FORGETTING = 0.5  # how often a history with one continuation loses its first word
LONGEST = 0.98  # quantile of the rows' lengths: no written text is longer
LEAST = 4  # tokens, the special ones included
ROUNDS = 4  # of writing until there are enough that are new
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing (Knuth)


def write_texts(rows: Sequence[np.ndarray], count: int, seed: int) -> list[np.ndarray]:
    """Return at most `count` different texts, each (tokens,), that are none of the rows.

    `rows` are token ids with special tokens; each text begins and ends as one of them does. Fewer texts come back where the
    rows allow no other ones.
    """
    draws, model = np.random.default_rng(seed), _Histories.of(rows)
    known, written = {row.tobytes() for row in map(_as_ids, rows)}, list[np.ndarray]()
    for _ in range(ROUNDS):
        for text in model.write(count - len(written), draws) if len(written) < count else ():
            if len(text) >= LEAST and text.tobytes() not in known:
                known.add(text.tobytes())
                written.append(text)
    return written


@dataclass(frozen=True)
class _Histories:
    """Where each history of 1 to ORDER tokens occurs in the rows, sorted by its hash."""

    first: np.ndarray  # (rows,): the first token of each row
    ends: np.ndarray  # the tokens that rows end with
    longest: int
    hashes: tuple[np.ndarray, ...]  # by length of the history: sorted, (places,)
    following: tuple[np.ndarray, ...]  # the token after each, in the same order
    is_single: tuple[np.ndarray, ...]  # whether all places of the history have the same token after it

    @classmethod
    def of(cls, rows: Sequence[np.ndarray]) -> _Histories:
        tokens = [_as_ids(row) for row in rows if len(row) > 1]
        joined, lengths = np.concatenate(tokens), np.array([len(row) for row in tokens])
        places = np.concatenate([np.arange(length) for length in lengths])  # of each token in its row
        hashes, following, is_single = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
        for order in range(1, ORDER + 1):
            # rows are shifted by 1: a history that begins before its row begins with nothing, 0
            values = np.zeros(len(joined), np.uint64)
            for back in range(order - 1, -1, -1):
                shifted = np.where(places >= back, np.roll(joined, back) + 1, 0)
                values = _append(values, shifted)
            has_next = np.append(places[1:] > 0, False)
            keys, after = values[has_next], np.roll(joined, -1)[has_next]
            sorting = np.lexsort((after, keys))
            keys, after = keys[sorting], after[sorting]
            _, begins, counts = np.unique(keys, return_index=True, return_counts=True)
            single = np.repeat(after[begins] == after[begins + counts - 1], counts)
            hashes.append(keys)
            following.append(after)
            is_single.append(single)
        first, ends = np.array([row[0] for row in tokens]), np.unique([row[-1] for row in tokens])
        longest = int(np.quantile(lengths, LONGEST))
        return cls(first, ends, longest, tuple(hashes), tuple(following), tuple(is_single))

    def write(self, count: int, draws: np.random.Generator) -> list[np.ndarray]:
        """Return `count` texts, all of which grow by one token at a time; one that grows too long is cut and ended."""
        texts = np.zeros((count, self.longest + 1), np.int64)
        texts[:, 0] = draws.choice(self.first, count)
        lengths, going = np.ones(count, np.int64), np.arange(count)
        for size in range(1, self.longest):
            if not len(going):
                break
            texts[going, size] = self._continue(texts[going, :size], draws)
            lengths[going] = size + 1
            going = going[~np.isin(texts[going, size], self.ends)]
        texts[going, self.longest - 1] = draws.choice(self.ends, len(going))
        return [text[:length] for text, length in zip(texts, lengths, strict=True)]

    def _continue(self, begun: np.ndarray, draws: np.random.Generator) -> np.ndarray:
        """Return a token for each begun text (texts, tokens), drawn from those that follow its last tokens in the rows."""
        count, size = begun.shape
        chosen, waiting = np.zeros(count, np.int64), np.arange(count)
        for order in range(ORDER, 0, -1):
            last = np.zeros((len(waiting), order), np.int64)
            known = begun[waiting, max(0, size - order) :] + 1
            last[:, order - known.shape[1] :] = known
            values = np.zeros(len(waiting), np.uint64)
            for column in range(order):
                values = _append(values, last[:, column])
            keys = self.hashes[order - 1]
            low, high = np.searchsorted(keys, values, "left"), np.searchsorted(keys, values, "right")
            drawn = low + (draws.random(len(waiting)) * (high - low)).astype(np.int64)
            is_known = high > low
            forgets = np.zeros(len(waiting), bool)
            if order > 1:
                forgets[is_known] = self.is_single[order - 1][low[is_known]] & (
                    draws.random(is_known.sum()) < FORGETTING
                )
            taken = is_known & ~forgets
            chosen[waiting[taken]] = self.following[order - 1][drawn[taken]]
            waiting = waiting[~taken]
        chosen[waiting] = draws.choice(self.ends, len(waiting))  # a token that only ever stood last
        return chosen


def _append(values: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the hashes of histories with one more token each."""
    mixed: np.ndarray = (values ^ (values >> np.uint64(29)) ^ tokens.astype(np.uint64)) * MULTIPLIER
    return mixed


def _as_ids(row: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(row, np.int64)
