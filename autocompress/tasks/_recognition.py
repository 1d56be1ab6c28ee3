"""Guess the columns of text, second text and label of new data from common names, else from their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autocompress.core.errors import UsageError
from autocompress.tasks import Recognition

LABELS = ("label", "labels", "target", "class", "category", "intent", "sentiment", "y")
NUMBERS = ("label", "score", "similarity", "similarity_score", "rating", "target", "labels", "y")
PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
         ("question", "passage"), ("text_a", "text_b"), ("text", "text_pair"))  # fmt: skip
TEXTS = ("text", "sentence", "content", "review", "question", "query", "utterance", "title")
MOST_LABELS = 200  # a column with more values is not guessed to be the label

Values = Mapping[str, Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class GuessedColumns:
    """The roles of the columns."""

    text: str
    pair: str | None
    label: str

    def recognition(self, claim: float, reason: str = "") -> Recognition:
        """Return the columns by the roles of a study file."""
        roles = {"text": self.text, "text_pair": self.pair, "label": self.label}
        texts = (self.text,) if self.pair is None else (self.text, self.pair)
        return Recognition(claim=claim, columns=roles, texts=texts, reason=reason)


def guess_columns(values: Values, options: Mapping[str, str | None]) -> GuessedColumns:
    """Guess the columns of text, second text and a label with few values.

    `options` maps text, pair and label to the column that the user named, or to null.
    """
    check_options(values, options)
    texts = find_texts(values)
    return guess_texts(values, options, texts, options.get("label") or _guess_label(values, texts))


def check_options(values: Values, options: Mapping[str, str | None]) -> None:
    """Raise UsageError where a column that the user named does not exist."""
    for role, name in options.items():
        if name is not None and name not in values:
            raise UsageError(f"--{role}: no column {name!r} (available: {', '.join(values)})")


def find_texts(values: Values) -> list[str]:
    """Return the names of the columns that hold texts."""
    return [name for name, column in values.items() if _holds_sentences(column)]


def guess_texts(values: Values, options: Mapping[str, str | None], texts: Sequence[str], label: str) -> GuessedColumns:
    """Guess the columns of text and second text beside a known label."""
    texts = [name for name in texts if name != label]
    pair = next((names for names in PAIRS if all(name in texts for name in names)), None)
    text = options.get("text") or (pair[0] if pair else _guess_text(values, texts))
    second = options.get("pair") or (pair[1] if pair and pair[0] == text else None)
    return GuessedColumns(text=text, pair=second, label=label)


def guess_numbers(values: Values, options: Mapping[str, str | None]) -> str:
    """Guess the column of numbers that are not all whole; UsageError where there is none."""
    found = [name for name, column in values.items() if holds_numbers(column)]
    if named := options.get("label"):
        found = [named] if named in found else []
    if not found:
        raise UsageError(
            f"DATA: no column holds numbers with a fraction; name it with --label COLUMN (available: {', '.join(values)})"
        )
    return next((name for name in NUMBERS if name in found), found[-1])


def holds_numbers(column: Sequence[object]) -> bool:
    """Return whether the values are numbers, and not all whole."""
    numbers = [value for value in column if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return bool(numbers) and len(numbers) == len(column) and any(float(number) % 1 != 0 for number in numbers)


def _guess_label(values: Values, texts: Sequence[str]) -> str:
    for name in LABELS:
        if name in values:
            return name
    categories = [
        name for name, column in values.items() if name not in texts and len(set(map(str, column))) <= MOST_LABELS
    ]
    if not categories:
        raise UsageError(
            f"DATA: no column looks like a label; name it with --label COLUMN (available: {', '.join(values)})"
        )
    return categories[-1]


def _guess_text(values: Values, texts: Sequence[str]) -> str:
    for name in TEXTS:
        if name in texts:
            return name
    if not texts:
        raise UsageError(
            f"DATA: no column looks like a text; name it with --text COLUMN (available: {', '.join(values)})"
        )
    return texts[0]


def _holds_sentences(column: Sequence[object]) -> bool:
    """Return whether the values are sentences rather than names of labels: strings, most of them different."""
    strings = [value for value in column if isinstance(value, str)]
    return len(strings) > 0.9 * len(column) and len(set(strings)) > 0.5 * len(strings)
