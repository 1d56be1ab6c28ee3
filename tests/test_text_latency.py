"""What a user of an exported model waits for and downloads: from a text to its label, and all files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autocompress.benchmarking import download_mb, measure_text_ms
from autocompress.core.errors import UsageError
from autocompress.selection import NoneFits, Picked, pick
from tests.conftest import Searched, run_cli
from tests.selection_rows import TEACHER, row
from tests.test_search import view_of


class Recorder:
    """A session that keeps what it was fed."""

    def __init__(self) -> None:
        self.feeds: list[dict[str, np.ndarray]] = []

    def run(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        self.feeds.append(feed)
        return np.zeros((1, 2), np.float32)


def models(searched: Searched) -> list[Path]:
    return sorted((searched.folder / "tiny" / "artifacts" / "models").iterdir())


def test_texts_are_cut_and_labelled_one_at_a_time(searched: Searched) -> None:
    session, artifact = Recorder(), models(searched)[0]
    milliseconds = measure_text_ms(session, artifact, [("the film is good", None), ("the story " * 100, None)])  # type: ignore[arg-type]  # all it does is run
    assert milliseconds > 0
    shapes = [feed["input_ids"].shape for feed in session.feeds]
    assert shapes == [(1, 6), (1, 32)] * 3  # cut at the study's max_tokens
    assert all(feed["attention_mask"].all() for feed in session.feeds)


def test_the_download_has_all_files_that_inference_needs(searched: Searched, tmp_path: Path) -> None:
    artifact = models(searched)[0]
    sizes = {path.name: path.stat().st_size for path in artifact.rglob("*") if path.is_file()}
    assert {"model.onnx", "config.json", "tokenizer.json", "recipe.json", "check.npz"} <= sizes.keys()
    needed = sum(sizes.values()) - sizes["recipe.json"] - sizes["check.npz"]
    assert download_mb(artifact) == pytest.approx(needed / 1e6)


def test_rows_hold_the_download_and_thoroughly_measured_ones_the_time_of_a_text(searched: Searched) -> None:
    rows = [row for row in view_of(searched.file).rows if row.size_mb]
    assert all(row.download_mb is not None and row.download_mb > (row.size_mb or 0) for row in rows)
    assert all((row.text_ms is not None) == (row.memory_mb is not None) for row in rows if row.reason is None)
    printed = run_cli("pick", searched.file, "--prefer", "download_mb", cwd=searched.folder).stdout
    assert "MB to download, tokenizer included" in printed


SMALL = row(1, drop=0.0, latency=2.0, size=20.0, download_mb=21.0, text_ms=2.5)
QUICK = row(2, drop=0.0, latency=3.0, size=10.0, download_mb=22.0, text_ms=2.1)
OLD = row(3, drop=0.0, latency=1.0, size=9.0)  # of an older version


@pytest.mark.parametrize(("prefer", "trial"), [("download_mb", 1), ("text_ms", 2), ("size_mb", 3), ("latency_ms", 3)])
def test_pick_prefers_what_it_is_asked_for(prefer: str, trial: int) -> None:
    picked = pick([TEACHER, SMALL, QUICK, OLD], {}, prefer)
    assert isinstance(picked, Picked) and picked.row.trial == trial


def test_a_download_can_be_limited() -> None:
    picked = pick([TEACHER, SMALL, QUICK], {"max_download_mb": 21.5}, "text_ms")
    assert isinstance(picked, Picked) and picked.row.trial == 1
    none = pick([TEACHER, SMALL, QUICK], {"max_download_mb": 20.0})
    assert isinstance(none, NoneFits) and none.nearest["max_download_mb"].trial == 1
    with pytest.raises(UsageError, match=r"--prefer.*download_mb"):
        pick([TEACHER], {}, "download")
