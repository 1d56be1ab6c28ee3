"""Find rows that contradict each other, and test or validation rows that stand in train."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from autocompress.core.formatting import counted
from autocompress.tasks import Rows, TaskData


def describe_conflicts(data: TaskData) -> list[str]:
    """Return one sentence for each kind of conflict among the rows of a study, with counts; texts themselves are not shown.

    Texts are equal if they are so apart from case and spacing. Labels conflict where they are classes: two numbers for one
    text are two opinions.
    """
    sentences = []
    if data.label_names:
        texts, rows = _count_contradictions(data.train)
        if texts:
            sentences.append(
                f"{counted(texts, 'text')} of train {'has' if texts == 1 else 'have'} several labels ({rows:,} rows): no model"
                " can predict all of them; correct the labels, or remove the rows"
            )
    known = set(_keys(data.train))
    for split in ("validation", "test"):
        keys = list(_keys(data.split(split)))
        repeated = sum(key in known for key in keys)
        if repeated:
            sentences.append(
                f"{repeated:,} of {len(keys):,} {split} rows ({repeated / len(keys):.1%}) stand in train: quality on {split} is"
                " too high by what the models learn by heart; remove them from train"
            )
    return sentences


def _count_contradictions(rows: Rows) -> tuple[int, int]:
    """Return the number of texts with several labels, and of the rows that hold them."""
    labels: dict[Hashable, list[object]] = {}
    for key, content in zip(_keys(rows), rows.contents(), strict=True):
        labels.setdefault(key, []).append(content[-1])
    contradicting = [found for found in labels.values() if any(label != found[0] for label in found)]
    return len(contradicting), sum(map(len, contradicting))


def _keys(rows: Rows) -> Iterator[Hashable]:
    """Yield what of each row the model reads, without its label."""
    for content in rows.contents():
        yield _normalized(content[:-1])


def _normalized(value: object) -> Hashable:
    """Return a text without its case and spacing, and lists of them as tuples."""
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    return tuple(map(_normalized, value)) if isinstance(value, list | tuple) else None
