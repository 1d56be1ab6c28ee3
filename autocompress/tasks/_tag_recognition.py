"""Find the columns of words and tags in new data, and the metric that suits the tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autocompress.core.errors import UsageError
from autocompress.data.entities import has_scheme
from autocompress.tasks import LabelSummary, Recognition
from autocompress.tasks._recognition import check_options

WORDS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "labels", "ner", "pos_tags", "chunk_tags")  # before other names that end with them
ENDINGS = ("tags", "labels", "tag", "label")
CHECKED_ROWS = 1000  # whose lists are compared
METRICS = ("entity_f1", "accuracy")

Values = Mapping[str, Sequence[object]]


def recognize_tags(values: Values, named: Mapping[str, str | None]) -> Recognition:
    """Return the columns of words and tags; `named` maps text and label to the columns that the user named, or to null.

    UsageError where no column holds lists of words, or none holds as many tags.
    """
    check_options(values, named)
    lists = {name: rows for name, column in values.items() if (rows := _read_lists(column)) is not None}
    words = named.get("text") or _guess_words(lists)
    tags = named.get("label") or _guess_tags(lists, words)
    if words not in lists or tags not in lists or words == tags:
        raise UsageError(
            "DATA: no two columns hold lists of words and of their tags; name them with --text COLUMN and --label COLUMN "
            f"(available: {', '.join(values)})"
        )
    return Recognition(claim=0.95, columns={"tokens": words, "tags": tags}, texts=(words,))


def _read_lists(column: Sequence[object]) -> list[list[object]] | None:
    """Return the first rows of a column of lists; null for another column."""
    rows = column[:CHECKED_ROWS]
    lists = [row for row in rows if isinstance(row, list)]
    return lists if lists and len(lists) == len(rows) else None


def _guess_words(lists: Mapping[str, list[list[object]]]) -> str | None:
    """Guess the column of words: by its name, else that with the most different strings."""
    texts = {name: {value for row in rows for value in row} for name, rows in lists.items()}
    texts = {name: values for name, values in texts.items() if all(isinstance(value, str) for value in values)}
    common = next((name for name in WORDS if name in texts), None)
    return common or max(texts, key=lambda name: len(texts[name]), default=None)


def _guess_tags(lists: Mapping[str, list[list[object]]], words: str | None) -> str | None:
    """Guess the column of tags, among those with as many values in every row as words."""
    if words is None or words not in lists:
        return None
    lengths = [len(row) for row in lists[words]]
    fitting = [name for name, rows in lists.items() if name != words and [len(row) for row in rows] == lengths]
    common = next((name for name in TAGS if name in fitting), None)
    return common or next((name for name in fitting if name.endswith(ENDINGS)), next(iter(fitting), None))


def describe_tags(values: Values, recognized: Recognition) -> LabelSummary:
    """Describe the tags of train, and choose a metric: entity_f1 where tags mark entities, or are numbers."""
    column = str(recognized.columns["tags"])
    names = sorted({str(tag) for row in values[column] if isinstance(row, list) for tag in row})
    are_numbers = all(name.isdecimal() for name in names)
    metric, reason = "accuracy", "tags mark no entities (B-PER, I-PER, O), so the metric is accuracy, of words"
    if are_numbers:
        reason = "tags are numbers without names, so the metric is accuracy, of words; entity_f1 needs names"
    elif has_scheme(names):
        metric, reason = (
            "entity_f1",
            "tags mark entities, so the metric is entity_f1: type, first and last word must be right",
        )
    return LabelSummary(
        description=f"tags: {column}, with {len(names)} values",
        metric=metric,
        reason=reason,
        other_metrics=METRICS,
    )
