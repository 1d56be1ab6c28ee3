"""How a task shows itself to people: the code of a model card, tables of a report, and what `init` says of new data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UsageCode:
    """The lines of a model card that depend on the task."""

    text: str  # an example of a text
    second_text: str = ""  # another one, where `show` compares the arrays `first` and `second` that both texts give
    show: str  # prints the prediction, given the array `logits` (the name of the output) of one text
    show_in_transformers: str  # the same, given `model` and `inputs`
    imports: tuple[str, ...] = ()  # that `show` needs


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table of a report."""

    title: str
    caption: str = ""
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def has_words(self, column: int) -> bool:
        """Whether a column (counted from 0) holds words, and not numbers alone."""
        return any(character.isalpha() for cells in self.rows for character in cells[column])


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """Data that a task could be done on, as `init` found it."""

    claim: float  # 0 to 1; the task with the largest claim is proposed
    columns: Mapping[str, str | None]  # role -> column
    texts: tuple[str, ...]  # the columns of one text, or of two that the model reads at once
    reason: str = ""  # for the claim, as a sentence without a full stop


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """The labels of new data, and the metric that suits them."""

    description: str  # e.g. "label: label, with 2 values"
    metric: str
    reason: str  # for the metric, as a sentence without a full stop
    other_metrics: tuple[str, ...]
