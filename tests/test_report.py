"""The report: one page that needs no network, tells what the numbers of the study are, and no text where none is wanted."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autocompress.actions.locate import locate
from autocompress.actions.report import ReportData, ablate, gather, render
from autocompress.actions.report.ablation import without
from autocompress.core.measurement import TrialRow
from autocompress.core.recipe import Recipe
from autocompress.interfaces.cli import main
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.study.plots import drops, explained, front
from tests.conftest import Searched

BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def facts(searched: Searched) -> ReportData:
    located = locate(str(searched.file), None)
    return gather(located, located.view().front[0].trial)


def texts(searched: Searched) -> list[str]:
    lines = (searched.folder / "data" / "test.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.rpartition(",")[0].strip('"') for line in lines]


def test_the_page_tells_the_numbers_of_the_study(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "deep" / "report.html"
    assert main(["report", str(searched.file), "--to", str(to), "--json", "--no-ablation"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (Path(told["page"]), told["bytes"]) == (to, to.stat().st_size)
    page, view = to.read_text(encoding="utf-8"), locate(str(searched.file), None).view()
    for row in view.front:
        assert f"<td>{row.trial}</td>" in page
        assert row.test_quality is not None and f"{100 * row.test_quality:.1f}" in page
    assert f'<h2 id="chosen">Trial {told["trial"]}: ' in page
    assert main(["report", str(searched.file), "--trial", "9999", "--to", str(to)]) == 2


def test_the_page_needs_no_network(facts: ReportData) -> None:
    page = render(facts, "accuracy", {})
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", own)
    assert "default-src 'none'" in own


def test_no_text_of_the_data_where_none_is_wanted(searched: Searched, tmp_path: Path) -> None:
    pages = {}
    for option in ([], ["--no-examples"]):
        to = tmp_path / f"{len(option)}.html"
        assert (
            main(["report", str(searched.file), "--trial", "1", "--to", str(to), "-q", "--no-ablation", *option]) == 0
        )
        pages[len(option)] = to.read_text(encoding="utf-8")
    assert "Texts were left out of this page." in pages[1]
    assert not any(text in pages[1] for text in texts(searched) if len(text) > 12)
    disagreements = gather(locate(str(searched.file), None), 1).examples
    assert all(one.text in pages[0] for one in disagreements or ())


def test_labels_and_examples_are_of_the_kept_answers(facts: ReportData) -> None:
    row = facts.chosen
    rows = sum(one.rows for one in facts.by_label)
    assert rows == facts.rows["test"]
    assert row.test_quality == pytest.approx(sum(one.right for one in facts.by_label) / rows)
    assert row.test_drop == pytest.approx(sum(one.lost - one.won for one in facts.by_label) / rows)
    for one in facts.by_label:
        assert one.teacher_right - one.lost + one.won == one.right
        assert one.lost + one.won <= one.rows
    assert facts.examples is not None
    assert all(one.teacher != one.model for one in facts.examples)
    finalist = next(one for one in facts.finalists if one.row.trial == row.trial)
    assert finalist.disagreement is not None and len(facts.examples) == min(20, round(finalist.disagreement * rows))


def test_the_front_grows_in_time_to_what_it_is(facts: ReportData) -> None:
    assert [seconds for seconds, _ in facts.growth] == sorted(seconds for seconds, _ in facts.growth)
    assert facts.growth[-1][0] <= facts.view.seconds


def test_answers_that_were_not_kept_are_missed_and_no_reason_to_fail(searched: Searched, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    shutil.rmtree(folder / "tiny" / "artifacts" / "stages" / "outputs")
    located = locate(str(folder / "tiny.yaml"), None)
    found = gather(located, located.view().front[0].trial)
    assert found.by_label == () and found.examples == ()
    assert all(one.p_value is None for one in found.finalists)
    assert "were not kept" in render(found, "accuracy", {})


def test_importance_is_the_share_of_variance_that_a_decision_explains() -> None:
    rows = [
        TrialRow(
            trial=1 + number, state="complete", reason=None, recipe=Recipe(depth=depth, ffn_sparsity=sparsity),
            quality=0.9 - 0.1 * depth, latency_ms=2.0**depth * 2.0 ** (3 * sparsity), size_mb=8.0 * (1 - sparsity),
        )
        for number, (depth, sparsity) in enumerate((d, s) for d in (1, 2, 3, 4) for s in (0.0, 0.5))
    ]  # fmt: skip
    found = explained(rows, ("quality", "latency_ms", "size_mb"))
    assert found["quality"] == pytest.approx({"depth": 1.0, "ffn_sparsity": 0.0})
    assert found["size_mb"] == pytest.approx({"ffn_sparsity": 1.0, "depth": 0.0})
    depth, sparsity = np.var([1, 2, 3, 4]), np.var([0, 1.5])
    assert found["latency_ms"] == pytest.approx(
        {"depth": depth / (depth + sparsity), "ffn_sparsity": sparsity / (depth + sparsity)}
    )
    assert explained(rows[:7], ("quality",)) == {}  # too few to say
    assert explained([replace(row, state="failed") for row in rows], ("quality",)) == {}


def test_a_trial_that_was_not_tested_is_not_drawn_among_those_that_were(facts: ReportData) -> None:
    told = front(facts.view.rows, facts.chosen)["layout"]["yaxis"]["title"]["text"]
    untested = replace(facts.chosen, test_drop=None)
    assert "test" in told and "validation" in front(facts.view.rows, untested)["layout"]["yaxis"]["title"]["text"]


def test_the_labels_of_latencies_are_the_whole_number(facts: ReportData) -> None:
    rows = [replace(row, latency_ms=latency) for row, latency in zip(facts.view.rows, (6.5, 0.03), strict=False)]
    axis = front(rows)["layout"]["xaxis"]
    assert axis["ticktext"] == [f"{value:g}" for value in axis["tickvals"]]
    assert {0.02, 0.05, 0.1, 5, 10} <= set(axis["tickvals"])  # not `2`, `5` and `1` between powers of ten
    assert front([])["layout"]["xaxis"]["tickvals"]


def test_drops_are_told_by_the_value_of_each_decision() -> None:
    rows = [
        TrialRow(
            trial=1 + number, state="complete", reason=None, recipe=Recipe(depth=depth, ffn_sparsity=sparsity),
            quality=0.9 - 0.1 * depth, drop=0.1 * depth, latency_ms=1.0, size_mb=8.0,
        )
        for number, (depth, sparsity) in enumerate((d, s) for d in (1, 2, 3, 10) for s in (0.0, 0.5))
    ]  # fmt: skip
    figure = drops(rows)
    assert figure is not None
    depth, sparsity = figure["data"]
    assert depth["visible"] and not sparsity["visible"]  # what explains most comes first
    told = dict(zip(depth["x"], depth["y"], strict=True))
    assert told == pytest.approx({"1": 10.0, "2": 20.0, "3": 30.0, "10": 100.0})
    assert set(sparsity["x"]) == {"0%", "50%"}
    axis = figure["layout"]["xaxis"]
    assert axis["title"]["text"] == "depth" and axis["categoryarray"] == [
        "1",
        "2",
        "3",
        "10",
    ]  # by number, not by letter
    assert drops(rows[:7]) is None


@pytest.mark.slow
def test_what_each_decision_gave_is_measured_once(searched: Searched, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    located = locate(str(folder / "tiny.yaml"), None)
    view = located.view()
    row = min(view.front, key=lambda one: (one.recipe.depth or 9, one.recipe.weight_bits))
    shares = ablate(located, row.trial, SilentDisplay())
    wanted = {"head_sparsity", "ffn_sparsity"} | ({"depth"} if row.recipe.depth == 1 else set())
    assert {one.decision for one in shares} >= wanted
    assert all(one.smaller >= 1 for one in shares)
    assert ablate(located, row.trial, SilentDisplay()) == shares
    assert len(list((folder / "tiny" / "artifacts" / "stages" / "ablation").glob("*"))) == 1
    assert located.view() == view
    page = render(replace(gather(located, row.trial), shares=shares), "accuracy", {})
    assert "cut from the super-net" in page
    assert "cut from the super-net" not in render(
        replace(gather(located, row.trial), shares=shares, supernet=False), "accuracy", {}
    )
    assert "What each decision gave" in page and f"{shares[0].faster:.2f}×" in page
    assert ablate(located, 0, SilentDisplay()) == ()


def test_a_decision_goes_with_what_hangs_on_it() -> None:
    recipe = Recipe(depth=2, attention="local", attention_window=16, head_sparsity=0.5)
    assert without(recipe, "attention", 6) == Recipe(depth=2, head_sparsity=0.5)
    assert without(recipe, "depth", 6) == replace(recipe, depth=6)
    assert without(recipe, "head_sparsity", 6) == replace(recipe, head_sparsity=0.0)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")
def test_a_browser_draws_the_plots(facts: ReportData, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    some = facts.view.front[0]
    changes = [{"trial": number, "quality": number / 1e3, "drop": 1 - number / 1e3} for number in range(100, 109)]
    depths = [replace(some.recipe, depth=1 + number % 3) for number in range(9)]
    more = [replace(some, on_front=False, recipe=r, **c) for r, c in zip(depths, changes, strict=True)]
    view = replace(facts.view, rows=(*facts.view.rows, *more))
    grown = replace(facts, view=view, importances=explained(view.rows, view.objectives))
    page.write_text(render(grown, "accuracy", {"words": "a command"}), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    dom = subprocess.run([*command, page.as_uri()], check=True, capture_output=True, text=True, timeout=120).stdout
    assert 'class="main-svg"' in dom
    assert re.search(r'<select id="menu-drops"><option value="0">\w', dom)  # in the page, where a keyboard reaches it
    assert 'class="updatemenu-container"' not in dom
    assert "lost on test" in dom
