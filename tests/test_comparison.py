"""Comparisons of two trials and of two fronts."""

from __future__ import annotations

import pytest

from autocompress.selection import ComparedFront, compare_fronts, mcnemar, ratio_interval
from tests.selection_rows import row


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar(0, 0) == mcnemar(5, 5) == 1.0
    assert mcnemar(0, 1) == 1.0
    assert mcnemar(0, 5) == mcnemar(5, 0) == pytest.approx(2 / 2**5)
    assert mcnemar(1, 8) == pytest.approx(2 * (1 + 9) / 2**9)


def test_ratio_interval_is_wider_than_either_interval() -> None:
    low, high = ratio_interval(2.0, (1.9, 2.1), 6.0, (5.7, 6.3))
    assert low < 3.0 * 5.7 / 6.0 < 3.0 < 3.0 * 6.3 / 6.0 < high
    assert low > 3.0 * 5.7 / 6.0 * 1.9 / 2.0  # both are unlikely to be at the ends of their intervals


def test_compare_fronts_scales_each_front_by_its_teacher() -> None:
    def front(name: str, latency: float, *rows: tuple[float, float, float]) -> ComparedFront:
        teacher = row(0, latency=latency, size=100.0, speedup=1.0, compression=1.0)
        members = [
            row(number, drop, latency / speedup, 100.0 / smaller, speedup=speedup, compression=smaller, on_front=True)
            for number, (drop, speedup, smaller) in enumerate(rows, 1)
        ]
        return ComparedFront(study=name, rows=[teacher, *members], teacher=teacher, examples=500, seconds=60.0)

    a = front("a", 10.0, (0.01, 4.0, 4.0), (0.05, 8.0, 8.0))
    b = front("b", 20.0, (0.02, 4.0, 2.0))
    compared = compare_fronts(a, b, 0.03)
    assert compared.same_teacher and (compared.coverage_a, compared.coverage_b) == (1.0, 0.0)
    assert compared.hypervolume_b == pytest.approx(8.0 * 2 * 1)  # 10 − 2 points, 2 octaves faster, 1 smaller
    assert compared.hypervolume_a == pytest.approx(9.0 * 2 * 2 + 5.0 * (3 * 3 - 2 * 2))
    assert {choice.prefer: (choice.a.trial, choice.b.trial) for choice in compared.choices if choice.a and choice.b} == {
        "latency_ms": (1, 1), "size_mb": (1, 1), None: (1, 1)
    }  # fmt: skip
    assert all(choice.b is None for choice in compare_fronts(a, b, 0.001).choices)
    mirrored = compare_fronts(b, a, 0.03)
    assert (mirrored.hypervolume_a, mirrored.coverage_b) == (compared.hypervolume_b, compared.coverage_a)
