"""Conversions between a comparison on the agreement rows and its row among the measurements of a trial."""

from __future__ import annotations

from autocompress.core.agreement import AGREEMENT, Agreement
from autocompress.study.tables import LATER_NUMBERS, MeasurementColumns

NUMBERS = ("confidence_drop", "drop_deviation")  # without a column of their own


def agreement_values(agreement: Agreement) -> dict[str, object]:
    """Return the columns of a comparison on the agreement rows."""
    return {
        "split": AGREEMENT,
        "examples": agreement.rows,
        "disagreement": agreement.disagreement,
        "soft_drop": agreement.drop,
        "conditions": {LATER_NUMBERS: {name: getattr(agreement, name) for name in NUMBERS}},
    }


def agreement_of(row: MeasurementColumns) -> Agreement:
    """Return the comparison on the agreement rows from its columns."""
    numbers = (row.conditions or {})[LATER_NUMBERS]
    return Agreement(
        rows=row.examples or 0,
        disagreement=row.disagreement or 0.0,
        drop=row.soft_drop,
        **{name: numbers[name] for name in NUMBERS},
    )
