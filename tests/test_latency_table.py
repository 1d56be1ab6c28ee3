"""The latency model: exact on a linear device, with a valid stated error on a noisy one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from autocompress.core.errors import TrialStopped
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.search.jobs import AdmissionLimits
from autocompress.search.pricing import check_predicted_latency
from autocompress.selection.latency_model import FEWEST, LatencyTable, Shape
from tests.models import tiny_candidate


def rows(noise: float = 0.0, bits: tuple[int, ...] = (8, 4)) -> list[TrialRow]:
    """Return rows of a device whose latency is linear in the shape, with log-normal noise."""
    rng = np.random.default_rng(0)
    measured = []
    for number, (depth, heads, neurons, width) in enumerate(
        product((1, 2, 4, 6), (3, 6, 12), (96, 384, 1536), bits), 1
    ):
        per_layer = (0.02 + 0.004 * heads + 0.0001 * neurons) * (1 if width == 8 else 1.7)
        latency = (0.05 + per_layer * (depth - 1 + 0.4)) * float(np.exp(rng.normal(0, noise)))
        measured.append(
            TrialRow(
                trial=number,
                state="complete",
                reason=None,
                recipe=Recipe(depth=depth, weight_bits=width, embedding_bits=8),
                latency_ms=latency,
                heads=(heads,) * depth,
                neurons=(neurons,) * depth,
            )
        )
    return measured


def shape_of(row: TrialRow) -> Shape:
    assert row.heads is not None
    assert row.neurons is not None
    return Shape.of(row.recipe, row.heads, row.neurons)


def test_fit_predicts_unseen_shapes_of_a_linear_device() -> None:
    all_rows = rows()
    order = np.random.default_rng(1).permutation(len(all_rows))
    table = LatencyTable.fit([all_rows[index] for index in order[:40]])
    assert table is not None
    unseen = [all_rows[index] for index in order[40:]]
    errors = [abs((table.predict(shape_of(row)) or 0) / (row.latency_ms or 1) - 1) for row in unseen]
    assert np.quantile(errors, 0.9) < 0.1
    whole = LatencyTable.fit(all_rows)
    assert whole is not None
    assert whole.error < 0.05


def test_stated_error_is_that_of_unseen_shapes() -> None:
    noisy = rows(noise=0.1)
    table = LatencyTable.fit(noisy)
    assert table is not None
    assert 0.1 < table.error < 0.4  # two standard deviations of the noise, and what the fit adds
    exact = LatencyTable.fit(rows())
    assert exact is not None
    assert exact.error < table.error
    assert "%" in table.describe()


def test_fit_counts_a_shape_once() -> None:
    few = rows()[: FEWEST - 1]
    again = [replace(row, trial=row.trial + 1000) for row in few]
    assert LatencyTable.fit([*few, *again]) is None
    assert LatencyTable.fit([replace(row, state="stopped") for row in rows()]) is None


def test_predict_returns_null_for_an_unmeasured_width() -> None:
    table = LatencyTable.fit(rows(bits=(8,)))
    assert table is not None
    assert table.predict(Shape((4, 4), (96, 96), ("full", 2), (8,))) is None
    assert table.predict(Shape((4, 4), (96, 96), ("full", 8), (8,))) is not None


def test_prediction_stops_only_significantly_too_slow_candidates() -> None:
    candidate = tiny_candidate()
    slow = [
        replace(row, recipe=row.recipe.replace(weight_bits=candidate.recipe["weight_bits"])) for row in rows(bits=(8,))
    ]
    table = LatencyTable.fit(slow)
    assert table is not None
    predicted = table.predict(Shape.of(candidate.recipe, candidate.heads, candidate.neurons))
    assert predicted is not None
    fastest = predicted * (1 - table.error)
    with pytest.raises(TrialStopped, match=r"predicted latency .* not built"):
        check_predicted_latency(candidate, AdmissionLimits(max_latency_ms=0.99 * fastest, latency_model=table))
    check_predicted_latency(candidate, AdmissionLimits(max_latency_ms=1.01 * fastest, latency_model=table))
    check_predicted_latency(candidate, AdmissionLimits(max_latency_ms=1e-9))
