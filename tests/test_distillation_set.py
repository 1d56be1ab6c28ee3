"""The rows that candidates learn from: training rows, unlabelled texts and copies, all or some of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from autocompress.config import Recovery, read_plan
from autocompress.search.edited_data import EditedData
from autocompress.search.stage_keys import targets_stage
from autocompress.search.study_data import DistillationSet, StudyData
from tests.tiny import tiny_study

TEXTS = 12


def read_data(folder: Path) -> StudyData:
    """Return the data of a study with 12 unlabelled texts of different lengths."""
    (folder / "more.csv").write_text("text\n" + "".join(f"more{' good' * (row + 1)}\n" for row in range(TEXTS)))
    data = {split: f"data/{split}.csv" for split in ("train", "validation", "test")} | {"unlabelled": "more.csv"}
    study = tiny_study(folder, task={"data": data, "max_tokens": 32})
    return StudyData(read_plan(study), offline=True)


def test_a_distillation_set_has_as_many_rows_of_each_kind_as_the_study_learns_from(tmp_path: Path) -> None:
    data = read_data(tmp_path)
    train = len(data.tokens["train"])
    sets = {rows: DistillationSet(data, Recovery(copies=2, distilled_rows=rows)) for rows in (None, 50, 90, 10_000)}
    assert {rows: len(chosen.lengths) for rows, chosen in sets.items()} == {
        None: 3 * train + TEXTS, 50: 50, 90: 90, 10_000: 3 * train + TEXTS
    }  # fmt: skip
    assert sets[10_000].lengths == sets[None].lengths
    fewer, more = ([row.tobytes() for row in sets[rows].tokens.input_ids] for rows in (50, 90))
    assert not Counter(fewer) - Counter(more)
    labelled = [int((sets[rows].tokens.labels.values >= 0).sum()) for rows in (50, None)]
    assert 0 < labelled[0] < 50 and labelled[1] == train


def test_an_edited_tokenizer_cuts_the_same_texts(tmp_path: Path) -> None:
    data, recovery = read_data(tmp_path), Recovery(copies=0, distilled_rows=50)
    edited = EditedData(read_plan(tmp_path / "tiny.yaml"), data, ())
    lengths = DistillationSet(edited, recovery).lengths
    assert len(lengths) == 50
    assert lengths == DistillationSet(data, recovery).lengths


def test_all_rows_keep_the_key_of_earlier_studies() -> None:
    keys = {rows: targets_stage("teacher", Recovery(distilled_rows=rows), seed=0).key for rows in (None, 5, 7)}
    assert keys[None] == "659dbe9eff730af873df254afd6f007963bac71c8271e406096700b5d410fdb8"
    assert len(set(keys.values())) == 3
