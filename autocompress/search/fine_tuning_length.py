"""Choose where the search for settings of fine-tuning begins, and how much it may train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autocompress.search.baselines import MOST_CELLS
from autocompress.training.settings_search import FRACTIONS, LONGER, USUAL_BATCH, SearchLimits, Setting

LEAST_STEPS, STEPS_PER_LABEL = 500, 6  # of a whole fine-tuning at the usual batch
LEAST_EPOCHS, MOST_EPOCHS = 3, 20
RATE, RATE_WIDTH = 1e-4, 384  # the learning rate of a model of this hidden width
WARMUP = 0.06
MANY_LABELS = 50  # from this number on the learning rate is doubled
LOWEST_RATE, HIGHEST_RATE = 2e-5, 3e-4
MOST_STOP_ROWS, LEAST_STOP_ROWS = 1000, 10
MOST_SETTINGS = 6
SEARCH_LEVELS = (
    0.0,
    1.0,
    1.25,
    1.75,
    2.25,
    3.0,
)  # whole lengths: coarse, so that a noisy price rarely changes the search
USED_TIME = 0.85  # of the time is planned for training; evaluation and loading take the rest
PROBED_ROWS = 20_000  # of a linear probe, at most
PROBED_SHARE = 0.5  # of the rows that time allows to learn
READ_COST = 1 / 3  # the time of reading a row, of that of learning it
FINE_TUNING_SHARE = 0.25  # of the time budget, where the study file sets no time for it


@dataclass(frozen=True, kw_only=True)
class SearchSize:
    """How much a search may train, and how long the fine-tuning after it is."""

    length: int  # rows of the usual whole fine-tuning, repeated ones included
    limits: SearchLimits
    probed_rows: int = 0  # of the linear probe that it begins with; 0: none


def stop_rows(rows: int) -> int:
    """Return how many rows of train settings are judged on: a fifth, and at most 1,000.

    The chosen setting is trained on all rows.
    """
    return min(MOST_STOP_ROWS, rows // 5)


def first_setting(labels: float, width: int) -> Setting:
    """Return the setting that is tried first, for a number of labels and a hidden width.

    The rate is inversely proportional to the width: 1e-4 for MiniLM (384) is 5e-5 for BERT-base (768), which is in the range
    that Devlin et al. (2019) recommend. With many labels it doubles.
    """
    rate = RATE * RATE_WIDTH / width * (2 if labels >= MANY_LABELS else 1)
    rate = float(f"{min(max(rate, LOWEST_RATE), HIGHEST_RATE):.1e}")
    return Setting(learning_rate=rate, batch=USUAL_BATCH, warmup=WARMUP)


def usual_length(rows: int, labels: float) -> int:
    """Return how many rows a whole fine-tuning usually learns, repeated ones included.

    A new head learns in optimizer steps, not in epochs: with few rows an epoch has few steps, and every further label is one
    more boundary to learn from fewer rows (see `effective_labels`).
    """
    learned = USUAL_BATCH * (LEAST_STEPS + STEPS_PER_LABEL * labels)
    return round(min(max(learned, LEAST_EPOCHS * rows), MOST_EPOCHS * rows))


def effective_labels(counts: Sequence[int]) -> float:
    """Return the number of labels, given the rows of each, or 1 / the share of the rarest where that is more (up to 10 times).

    1 where there are no labels, as with numbers.
    """
    present = [count for count in counts if count]
    if not present:
        return 1.0
    return float(min(max(len(counts), sum(present) / min(present)), 10 * len(counts)))


def probe_size(most: int, labels: int, affordable: float | None) -> int:
    """Return how many rows, at most `most`, a linear probe is fitted to, given the rows that time allows to learn (null: any).

    Halved until they are at most half of these, so that a noisy price rarely changes them; 0 where not every label has one.
    """
    rows = min(most, MOST_CELLS // max(1, labels))
    while affordable is not None and rows > PROBED_SHARE * affordable:
        rows //= 2
    return rows if rows >= labels else 0


def search_size(usual: int, affordable: float | None, probed: int = 0) -> SearchSize:
    """Return how much a search may train, given the rows of a usual fine-tuning and those that time allows (null: any).

    `probed`: the rows of a linear probe, which takes time first.
    """
    if affordable is None:
        return SearchSize(length=usual, limits=SearchLimits(settings=MOST_SETTINGS), probed_rows=probed)
    affordable -= READ_COST * probed
    lengths = max(level for level in SEARCH_LEVELS if level <= max(0.0, affordable / usual - 1))
    length = usual
    if not lengths:  # the time for a search is better used for a longer fine-tuning
        most = int(min(affordable, LONGER * usual))
        unit = max(1, 10 ** (len(str(most)) - 2))  # two digits, for the same reason as above
        length = max(1, most // unit * unit)
    limits = SearchLimits(settings=MOST_SETTINGS, lengths=lengths)
    return SearchSize(length=length, limits=limits, probed_rows=probed)


def minutes_of_search(rows: int, labels: float, seconds_per_row: float, most_seconds: float | None) -> float:
    """Return the minutes that a search on so many rows usually takes, its end included, or the time that is allowed."""
    lengths = 1 + MOST_SETTINGS * FRACTIONS[0] + MOST_SETTINGS / 2 * FRACTIONS[1]
    seconds = lengths * usual_length(rows, labels) * seconds_per_row / USED_TIME
    return min(seconds, most_seconds or seconds) / 60
