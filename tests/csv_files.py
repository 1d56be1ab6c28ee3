"""Small CSV files for tests of reading data."""

from __future__ import annotations

from pathlib import Path

CSV = "text,label\n"


def write(path: Path, text: str) -> str:
    """Write a small file and return its path."""
    path.write_text(text, encoding="utf-8")
    return str(path)


def csv_text(rows: int, labels: int = 2) -> str:
    """Return a CSV of different texts whose labels alternate."""
    return CSV + "".join(f"text {row},{row % labels}\n" for row in range(rows))


def three_splits(folder: Path, train: str, other: str | None = None) -> dict[str, str]:
    """Write the same CSV for all splits, or `other` for validation and test; return `{split: path}`."""
    write(folder / "train.csv", train)
    write(folder / "other.csv", other or train)
    return {"train": f"{folder}/train.csv", "validation": f"{folder}/other.csv", "test": f"{folder}/other.csv"}
