"""Entities: their spans in tags of several schemes, and their F1, which is that of seqeval."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress import metrics
from autocompress.core.errors import UsageError
from autocompress.data.entities import Entity, find_entities, has_scheme
from autocompress.tasks._tags import count_types


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-A I-A O B-B", [Entity("A", 0, 1), Entity("B", 3, 3)]),
        ("I-A I-A I-B", [Entity("A", 0, 1), Entity("B", 2, 2)]),  # an I- without B-
        ("B-A I-B B-A B-A", [Entity("A", 0, 0), Entity("B", 1, 1), Entity("A", 2, 2), Entity("A", 3, 3)]),
        ("B-A I-A E-A S-B", [Entity("A", 0, 2), Entity("B", 3, 3)]),
        ("B-A I-A L-A U-B B-A L-A B-A L-A", [Entity("A", 0, 2), Entity("B", 3, 3), Entity("A", 4, 5), Entity("A", 6, 7)]),
        ("O O", []),
        ("B I O", [Entity("_", 0, 1)]),
        ("B-a-b I-a-b", [Entity("a-b", 0, 1)]),
    ],
)  # fmt: skip
def test_find_entities_reads_iob2_iobes_and_bilou(tags: str, entities: list[Entity]) -> None:
    assert find_entities(tags.split()) == entities


def random_tags(rng: np.random.Generator, prefixes: str, rows: int) -> list[list[str]]:
    names = ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("A", "B", "C"))]
    return [[str(tag) for tag in rng.choice(names, int(rng.integers(1, 12)))] for _ in range(rows)]


@pytest.mark.parametrize("prefixes", ["BI", "BIES", "I", "BE"])
def test_entity_f1_is_seqevals_on_random_and_malformed_tags(prefixes: str) -> None:
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is in the extra `dev`")
    official = pytest.importorskip("seqeval.metrics.sequence_labeling")
    rng, compute = np.random.default_rng(0), metrics.load_metric("entity_f1").compute
    for rows in (1, 3, 40):
        truth = random_tags(rng, prefixes, rows)
        predicted = [[tag if rng.random() < 0.7 else "O" for tag in row] for row in truth]
        for guesses, b in ((predicted, truth), (random_tags(rng, prefixes, rows), truth)):
            a = [(row * 12)[: len(other)] for row, other in zip(guesses, b, strict=True)]
            expected = seqeval.f1_score(b, a, zero_division=0)
            assert compute(*map(metrics.to_sequences, (a, b))) == pytest.approx(expected, abs=1e-12)
        for row in truth:
            assert [tuple(entity) for entity in official.get_entities(row)] == [
                tuple(entity) for entity in find_entities(row)
            ]


def test_entity_f1_is_computed_from_plain_sets_of_entities() -> None:
    rng, metric = np.random.default_rng(1), metrics.load_metric("entity_f1")
    truth, predicted = random_tags(rng, "BI", 30), random_tags(rng, "BI", 30)
    predicted = [(row * 12)[: len(other)] for row, other in zip(predicted, truth, strict=True)]
    sets = [
        {(row, *entity) for row, tags in enumerate(rows) for entity in find_entities(tags)}
        for rows in (predicted, truth)
    ]
    expected = 2 * len(sets[0] & sets[1]) / (len(sets[0]) + len(sets[1]))
    assert metric.compute(*map(metrics.to_sequences, (predicted, truth))) == pytest.approx(expected)
    assert metric.compute(*map(metrics.to_sequences, ([["O"]], [["O"]]))) == 0.0
    with pytest.raises(ValueError, match="row 2 has 1 predicted tags for 2 words"):
        metric.compute(*map(metrics.to_sequences, ([["O"], ["O"]], [["O"], ["O", "O"]])))
    assert metrics.score("entity_f1", predicted, truth) == pytest.approx(expected)  # type: ignore[arg-type]  # rows of any length


def test_accuracy_of_tags_is_that_of_words() -> None:
    a, b = (metrics.to_sequences(rows) for rows in ([["X", "Y", "Y"], ["X"]], [["X", "Y", "X"], ["Z"]]))
    metric = metrics.load_metric("accuracy")
    assert metric.compute(a, b) == 0.5
    assert metric.counts is not None and metric.counts(a, b).tolist() == [[2, 3], [0, 1]]


@pytest.mark.parametrize("names", [["NOUN", "VERB"], ["0", "1", "2"], ["O"], ["O", "B-A", "X-A"]])
def test_entity_f1_refuses_tags_that_mark_no_entities(names: list[str]) -> None:
    assert not has_scheme(names)
    with pytest.raises(
        UsageError, match=r"s.yaml: task.metric: entity_f1 needs tags such as B-PER, .* use accuracy"
    ) as caught:
        metrics.check_label_names(metrics.load_metric("entity_f1"), names, "s.yaml: task.metric")
    assert "\n" not in str(caught.value)
    metrics.check_label_names(metrics.load_metric("accuracy"), names, "x")


def test_count_types_of_entities_and_of_tags() -> None:
    truth = metrics.to_sequences([["B-A", "I-A", "O", "B-B"], ["B-A", "O"]])
    predicted = metrics.to_sequences([["B-A", "I-A", "O", "B-A"], ["O", "O"]])
    counts = count_types(predicted, truth, ["O", "B-A", "I-A", "B-B"])
    assert {name: (c.right, c.predicted, c.actual) for name, c in counts.items()} == {"A": (1, 2, 2), "B": (0, 0, 1)}
    assert (counts["A"].precision, counts["A"].recall, counts["A"].f1) == (0.5, 0.5, 0.5)
    tags = count_types(*(metrics.to_sequences(x) for x in ([["N", "V"]], [["N", "N"]])), ["N", "V"])
    assert {name: (c.right, c.predicted, c.actual) for name, c in tags.items()} == {"N": (1, 1, 2), "V": (0, 1, 0)}
