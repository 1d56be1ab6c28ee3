"""The peers benchmark: the goals and the tables are computed from the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import peers_report
from benchmarks.peer_recipes import NAMES, PICKED, REFERENCE, load_kinds, load_peer
from benchmarks.peers_goals import describe_goals, find_best, judge_set
from benchmarks.peers_records import Row
from benchmarks.peers_report import format_spread, render_tables, single_interval
from tests.peer_rows import complete_rows, row_of

KINDS = load_kinds()


def test_goals_are_met_by_a_fast_small_model() -> None:
    result = judge_set("trec", complete_rows(), KINDS)
    (seed,) = result.seeds
    assert (seed.best_training_free, seed.best_transformer) == ("nncf_int8", "torch_pruning_int8")
    assert seed.over_training_free == pytest.approx(20 / 3.2)
    assert seed.over_transformers == pytest.approx(2.0)
    assert result.is_met and result.is_fp32_met


@pytest.mark.parametrize(
    "picked",
    [
        row_of(PICKED, 20.0, drop=0.011, size_mb=8),
        row_of(PICKED, 15.5, size_mb=8),  # less than 5 times as fast as nncf_int8
        row_of(PICKED, 20.0, size_mb=10),  # larger than the best transformer
        Row(set="trec", seed=0, peer=PICKED, reason="no trial is within 1 point of the teacher"),
    ],
)
def test_goals_are_not_met(picked: Row) -> None:
    rows = [*(row for row in complete_rows() if row.peer != PICKED), picked]
    assert not judge_set("trec", rows, KINDS).is_met


def test_goals_need_the_ratio_to_trained_transformers() -> None:
    rows = [*complete_rows(), row_of("optuna_loop", 14.0, size_mb=9)]
    result = judge_set("trec", rows, KINDS)
    assert result.median("over_transformers") == pytest.approx(20 / 14)
    assert not result.is_met


def test_best_peer_loses_at_most_a_point() -> None:
    peers = {row.peer: row for row in [*complete_rows(), row_of("olive", 5.0, drop=0.02)]}
    assert find_best(peers, ("training-free",), KINDS).peer == "nncf_int8"
    assert (
        find_best({REFERENCE: peers[REFERENCE], "olive": peers["olive"]}, ("training-free",), KINDS).peer == REFERENCE
    )


def test_goals_take_medians_over_seeds() -> None:
    slow = [replace(row, speedup=10.0) if row.peer == PICKED else row for row in complete_rows(seed=2)]
    result = judge_set("trec", [*complete_rows(seed=0), *complete_rows(seed=1), *slow], KINDS)
    assert len(result.seeds) == 3 and result.median("speedup") == 20 and result.is_met


def test_describe_goals_counts_three_of_four_sets_without_mrpc() -> None:
    names = ("sst2", "trec", "mrpc")
    results = {name: judge_set(name, complete_rows(name), KINDS) for name in names}
    first, second, missing = describe_goals(results)
    assert missing == "Not complete: sst2 has 1 of 3 seeds, trec has 1 of 3 seeds."
    assert "2 of 4 sets" in first and "not reached" in first
    assert "sst2, trec of sst2 and trec: reached" in second
    results["ag_news"] = judge_set("ag_news", complete_rows("ag_news"), KINDS)
    assert "3 of 4 sets (sst2, trec, ag_news), 3 needed: reached" in describe_goals(results)[0]


def test_tables_show_every_peer_and_the_reason_of_a_lost_one() -> None:
    lost = Row(set="trec", seed=0, peer="olive", reason="ValueError: a | b")
    lines = render_tables([*complete_rows(), lost], {name: load_peer(name) for name in NAMES})
    table = lines[lines.index("### trec") :]
    table = table[: table.index("", 2)]
    assert len({line.replace("\\|", "").count("|") for line in table if line.startswith("|")}) == 1
    assert any("Olive" in line and "seed 0 lost | ValueError: a \\| b" in line for line in table)
    assert any("NNCF int8 |" in line and "| 3.20 |" in line for line in table)
    assert table[4].startswith("| autocompress, as picked")
    assert "1 thread, batch 1 (a CPU with avx2)" in lines[-2]
    assert any("(Torch-Pruning and fine-tuning, dynamic int8) |" in line for line in lines[: lines.index("")])
    assert len({line.count("|") for line in lines[: lines.index("")]}) == 1  # the table of the goals


def test_format_spread_gives_median_and_range() -> None:
    assert format_spread([], 1) == ""
    assert format_spread([2.0], 1) == "2.0"
    assert format_spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 … 3.0)"


def test_single_interval_is_left_out_for_several_seeds() -> None:
    assert single_interval([(0.01, 0.02)], 1, 100) == " (1.0 … 2.0)"
    assert single_interval([(0.01, 0.02), (0.01, 0.02)], 1) == single_interval([None], 1) == ""


def test_write_block_changes_its_block_alone(tmp_path: Path) -> None:
    page = tmp_path / "peers.md"
    page.write_text(f"before\n{peers_report.BEGIN}\nold\n{peers_report.END}\nafter\n", encoding="utf-8")
    peers_report.write_block(page, "new\n")
    assert page.read_text(encoding="utf-8") == f"before\n{peers_report.BEGIN}\nnew\n{peers_report.END}\nafter\n"
