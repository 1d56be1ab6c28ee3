"""The report: a page that holds the numbers of the study, needs no network, and leaves out texts on request."""

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
from autocompress.actions.report.ablation import without_decision
from autocompress.actions.report.page import mark_code
from autocompress.core.recipe import Recipe
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.cli import main
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.study.decision_importance import explained_variance
from autocompress.study.plots import plot_drops, plot_front
from tests.conftest import Searched

BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def report(searched: Searched) -> ReportData:
    located = locate(str(searched.file), None)
    return gather(located, located.view().front[0].trial)


def texts(searched: Searched) -> list[str]:
    lines = (searched.folder / "data" / "test.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.rpartition(",")[0].strip('"') for line in lines]


def test_report_holds_the_numbers_of_the_study(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "deep" / "report.html"
    assert main(["report", str(searched.file), "--to", str(to), "--json", "--no-ablation"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (Path(answer["page"]), answer["bytes"]) == (to, to.stat().st_size)
    page, view = to.read_text(encoding="utf-8"), locate(str(searched.file), None).view()
    for row in view.front:
        assert f"<td>{row.trial}</td>" in page
        assert row.test_quality is not None and f"{100 * row.test_quality:.1f}" in page
    assert f'<h2 id="chosen">Trial {answer["trial"]}: ' in page
    assert main(["report", str(searched.file), "--trial", "9999", "--to", str(to)]) == 2


def test_what_a_warning_quotes_is_shown_as_code() -> None:
    assert mark_code("below <b>: add `--set a=1` to `search`") == (
        "below &lt;b&gt;: add <code>--set a=1</code> to <code>search</code>"
    )


def test_report_needs_no_network(report: ReportData) -> None:
    page = render(report, "accuracy", {})
    without_scripts = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", without_scripts)
    assert "default-src 'none'" in without_scripts


def test_report_leaves_out_examples_on_request(searched: Searched, tmp_path: Path) -> None:
    pages = {}
    for option in ([], ["--no-examples"]):
        to = tmp_path / f"{len(option)}.html"
        assert (
            main(["report", str(searched.file), "--trial", "1", "--to", str(to), "-q", "--no-ablation", *option]) == 0
        )
        pages[len(option)] = to.read_text(encoding="utf-8")
    assert "Texts are left out of this page" in pages[1]
    assert not any(text in pages[1] for text in texts(searched) if len(text) > 12)
    disagreements = gather(locate(str(searched.file), None), 1).examples
    assert all(text in pages[0] for text, *_ in (disagreements.rows if disagreements else ()))


def test_gather_counts_labels_and_examples_from_stored_outputs(report: ReportData) -> None:
    row = report.chosen
    assert report.results is not None
    results = [dict(zip(report.results.head, cells, strict=True)) for cells in report.results.rows]
    rows = sum(int(result["rows"]) for result in results)
    assert rows == report.rows["test"]
    right = sum(float(result["model right"].split()[0]) / 100 * int(result["rows"]) for result in results)
    assert row.test_quality == pytest.approx(right / rows, abs=1e-3)
    changed = sum(int(result["lost"]) - int(result["won"]) for result in results)
    assert row.test_drop == pytest.approx(changed / rows)
    assert report.examples is not None
    examples = [dict(zip(report.examples.head, cells, strict=True)) for cells in report.examples.rows]
    assert all(example["teacher"] != example["model"] for example in examples)
    finalist = next(finalist for finalist in report.finalists if finalist.row.trial == row.trial)
    assert finalist.disagreement is not None and len(examples) == min(20, round(finalist.disagreement * rows))


def test_growth_is_ordered_by_time(report: ReportData) -> None:
    assert [seconds for seconds, _ in report.growth] == sorted(seconds for seconds, _ in report.growth)
    assert report.growth[-1][0] <= report.view.seconds


def test_gather_works_without_stored_logits(searched: Searched, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    shutil.rmtree(folder / "tiny" / "artifacts" / "stages" / "outputs")
    located = locate(str(folder / "tiny.yaml"), None)
    data = gather(located, located.view().front[0].trial)
    assert data.results is None and data.examples is None and not data.has_outputs
    assert all(finalist.p_value is None for finalist in data.finalists)
    assert "were not kept" in render(data, "accuracy", {})


def test_explained_is_the_share_of_variance_of_a_decision() -> None:
    rows = [
        TrialRow(
            trial=1 + number, state="complete", reason=None, recipe=Recipe(depth=depth, ffn_sparsity=sparsity),
            quality=0.9 - 0.1 * depth, latency_ms=2.0**depth * 2.0 ** (3 * sparsity), size_mb=8.0 * (1 - sparsity),
        )
        for number, (depth, sparsity) in enumerate((d, s) for d in (1, 2, 3, 4) for s in (0.0, 0.5))
    ]  # fmt: skip
    shares = explained_variance(rows, ("quality", "latency_ms", "size_mb"))
    assert shares["quality"] == pytest.approx({"depth": 1.0, "ffn_sparsity": 0.0})
    assert shares["size_mb"] == pytest.approx({"ffn_sparsity": 1.0, "depth": 0.0})
    depth, sparsity = np.var([1, 2, 3, 4]), np.var([0, 1.5])
    assert shares["latency_ms"] == pytest.approx(
        {"depth": depth / (depth + sparsity), "ffn_sparsity": sparsity / (depth + sparsity)}
    )
    assert explained_variance(rows[:7], ("quality",)) == {}  # too few rows
    assert explained_variance([replace(row, state="failed") for row in rows], ("quality",)) == {}


def test_front_plot_never_mixes_test_and_validation(report: ReportData) -> None:
    title = plot_front(report.view.rows, report.chosen)["layout"]["yaxis"]["title"]["text"]
    untested = replace(report.chosen, test_drop=None)
    assert (
        "test" in title and "validation" in plot_front(report.view.rows, untested)["layout"]["yaxis"]["title"]["text"]
    )


def test_front_plot_labels_latencies_in_full(report: ReportData) -> None:
    rows = [replace(row, latency_ms=latency) for row, latency in zip(report.view.rows, (6.5, 0.03), strict=False)]
    axis = plot_front(rows)["layout"]["xaxis"]
    assert axis["ticktext"] == [f"{value:g}" for value in axis["tickvals"]]
    assert {0.02, 0.05, 0.1, 5, 10} <= set(axis["tickvals"])  # not `2`, `5` and `1` between powers of ten
    assert plot_front([])["layout"]["xaxis"]["tickvals"]


def test_drops_plot_groups_by_decision_value() -> None:
    rows = [
        TrialRow(
            trial=1 + number, state="complete", reason=None, recipe=Recipe(depth=depth, ffn_sparsity=sparsity),
            quality=0.9 - 0.1 * depth, drop=0.1 * depth, latency_ms=1.0, size_mb=8.0,
        )
        for number, (depth, sparsity) in enumerate((d, s) for d in (1, 2, 3, 10) for s in (0.0, 0.5))
    ]  # fmt: skip
    figure = plot_drops(rows)
    assert figure is not None
    depth, sparsity = figure["data"]
    assert depth["visible"] and not sparsity["visible"]  # what explains most comes first
    values = dict(zip(depth["x"], depth["y"], strict=True))
    assert values == pytest.approx({"1": 10.0, "2": 20.0, "3": 30.0, "10": 100.0})
    assert set(sparsity["x"]) == {"0%", "50%"}
    axis = figure["layout"]["xaxis"]
    assert axis["title"]["text"] == "depth" and axis["categoryarray"] == [
        "1",
        "2",
        "3",
        "10",
    ]  # by number, not by letter
    assert plot_drops(rows[:7]) is None


@pytest.mark.slow
def test_ablate_measures_each_decision_once(searched: Searched, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(searched.folder, tmp_path / "study"))
    located = locate(str(folder / "tiny.yaml"), None)
    view = located.view()
    row = min(view.front, key=lambda row: (row.recipe["depth"] or 9, row.recipe["weight_bits"]))
    effects = ablate(located, row.trial, SilentDisplay())
    expected = {"head_sparsity", "ffn_sparsity"} | ({"depth"} if row.recipe["depth"] == 1 else set())
    assert {effect.decision for effect in effects} >= expected
    assert all(effect.smaller >= 1 for effect in effects)
    assert ablate(located, row.trial, SilentDisplay()) == effects
    assert len(list((folder / "tiny" / "artifacts" / "stages" / "ablation").glob("*"))) == 1
    assert located.view() == view
    page = render(replace(gather(located, row.trial), effects=effects), "accuracy", {})
    assert "cut from the super-net" in page
    assert "cut from the super-net" not in render(
        replace(gather(located, row.trial), effects=effects, supernet=False), "accuracy", {}
    )
    assert "Effect of each decision" in page and f"{effects[0].faster:.2f}×" in page
    assert ablate(located, 0, SilentDisplay()) == ()


def test_without_decision_resets_dependent_decisions() -> None:
    recipe = Recipe(depth=2, attention="local", attention_window=16, head_sparsity=0.5)
    teacher = Recipe(depth=6)
    assert without_decision(recipe, "attention", teacher) == Recipe(depth=2, head_sparsity=0.5)
    assert without_decision(recipe, "depth", teacher) == recipe.replace(depth=6)
    assert without_decision(recipe, "head_sparsity", teacher) == recipe.replace(head_sparsity=0.0)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_draws_the_plots(report: ReportData, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    some = report.view.front[0]
    changes = [{"trial": number, "quality": number / 1e3, "drop": 1 - number / 1e3} for number in range(100, 109)]
    depths = [some.recipe.replace(depth=1 + number % 3) for number in range(9)]
    more = [replace(some, on_front=False, recipe=r, **c) for r, c in zip(depths, changes, strict=True)]
    view = replace(report.view, rows=(*report.view.rows, *more))
    grown = replace(report, view=view, importances=explained_variance(view.rows, view.objectives))
    page.write_text(render(grown, "accuracy", {"words": "a command"}), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    dom = subprocess.run([*command, page.as_uri()], check=True, capture_output=True, text=True, timeout=120).stdout
    assert 'class="main-svg"' in dom
    assert re.search(r'<select id="menu-drops"><option value="0">\w', dom)  # in the page, where a keyboard reaches it
    assert 'class="updatemenu-container"' not in dom
    assert "lost on test" in dom
