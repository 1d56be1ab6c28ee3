"""The benchmark of choosing: its records, its oracle, and its bars, on invented searches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autocompress.core.agreement import Agreement
from benchmarks.choosing import COVERAGE_BAR, MAX_DROP, WITHIN_BAR, choose, coverage, judge_oracle, report
from benchmarks.choosing_records import SearchRecord, append_record, read_records
from tests.selection_rows import row

TEST_ROWS = 4000
RECORDED_SHARE = 0.77  # of the oracle's speed-up, that `pick` reaches on the records


def search(seed: int = 0, drops: tuple[float, ...] = (0.0, 0.004, 0.008, 0.02, 0.05)) -> SearchRecord:
    """Return a search whose models lose these drops on test, the more the faster."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, TEST_ROWS).astype(np.int16)
    teacher = np.where(rng.random(TEST_ROWS) < 0.9, labels, (labels + 1) % 3).astype(np.int16)
    rows, predictions = [replace(row(0, latency=8.0, size=80.0), speedup=1.0)], {0: teacher}
    for trial, drop in enumerate(drops, 1):
        damaged = rng.random(TEST_ROWS) < drop / 0.9
        predictions[trial] = np.where(damaged & (teacher == labels), (labels + 1) % 3, teacher).astype(np.int16)
        agreement = Agreement(rows=4000, disagreement=drop + 1e-3, confidence_drop=drop,
                              drop=drop, drop_deviation=2e-3)  # fmt: skip
        rows.append(
            replace(
                row(trial, drop, latency=8.0 / (1 + 2 * trial), drop_interval=(drop - 0.01, drop + 0.01)),
                disagreement=drop + 1e-3,
                speedup=1.0 + 2 * trial,
                soft_drop=drop,
                soft_drop_interval=(drop - 0.008, drop + 0.008),
                agreement=agreement if trial > 1 else None,
            )
        )
    return SearchRecord("sst2", seed, 30.0, 872, tuple(rows), labels, predictions, {"cpu": "invented"})


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, searches = tmp_path / "choosing.json", [search(0), search(1)]
    for record in searches:
        append_record(record, path)
    for known, record in zip(read_records(path), searches, strict=True):
        assert (known.name, known.examples, known.machine) == (record.name, record.examples, record.machine)
        assert [r.as_json() for r in known.rows] == [r.as_json() for r in record.rows]
        assert (known.labels == record.labels).all()
        assert all((known.predictions[n] == record.predictions[n]).all() for n in record.predictions)
        assert choose(known) is not None
    assert path.stat().st_size < 60_000  # differences from the teacher are mostly zeros


def test_the_oracle_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    record = search()
    judged = judge_oracle(record, seed=0)
    assert judged is not None
    assert 5.0 < judged[0] <= 7.5  # the fastest within a point is trial 3; on some halves trial 2
    assert judged[1] == pytest.approx(0.008, abs=0.003)
    assert judge_oracle(replace(record, rows=record.rows[4:]), seed=0) is None


def test_the_choice_is_compared_with_the_oracle() -> None:
    choice = choose(search())
    assert choice is not None
    assert choice.trial in (2, 3) and choice.is_counted
    assert choice.drop == pytest.approx(search().losses(choice.trial).mean())
    assert choice.share == pytest.approx(choice.speedup / choice.oracle)
    lines = list(report([search(seed) for seed in range(3)]))
    assert lines[2].startswith("| sst2-0 | 4,000 |")
    assert "(bar: 0.8)" in lines[-2] and "(bar: 90% to 98%)" in lines[-1]


def test_sets_with_few_test_rows_are_not_counted() -> None:
    record = search()
    few = replace(record, labels=record.labels[:500], predictions={n: p[:500] for n, p in record.predictions.items()})
    lines = list(report([few]))
    assert "(not counted)" in lines[2]
    assert not any("Speed-up as a share" in line for line in lines)


def test_coverage_counts_intervals_that_hold_the_test_drop() -> None:
    record = search()
    assert np.mean(list(coverage(record))) >= 0.6  # here every disagreement is a loss, which the prior finds unlikely
    flipped = {n: (p if n == 0 else (p + 1) % 3) for n, p in record.predictions.items()}
    assert not any(coverage(replace(record, predictions=flipped)))


def test_the_intervals_of_the_recorded_searches_hold_the_test_drop() -> None:
    records = read_records()
    held = [is_held for record in records for is_held in coverage(record)]
    low, high = COVERAGE_BAR
    assert records and low <= np.mean(held) <= high


def test_what_pick_names_in_the_recorded_searches_is_fast_and_loses_no_more_than_a_point_and_its_error() -> None:
    """A drop of at most a point in 80 % of the searches, and 0.8 of the oracle's speed-up, are wanted: the report says what is
    reached. Here `pick` must not become worse on the same records."""
    choices = [choice for record in read_records() if (choice := choose(record)) is not None and choice.is_counted]
    assert np.mean([choice.drop - 1.96 * choice.error <= MAX_DROP for choice in choices]) >= WITHIN_BAR
    assert np.exp(np.mean([np.log(choice.share) for choice in choices])) >= RECORDED_SHARE
