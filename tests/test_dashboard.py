"""The dashboard: the front of feasible trials through its server and, where one is installed, in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sqlite3
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage

from tests.conftest import Searched
from tests.formula import open_study, quality, search
from tests.toy_study import serve_dashboard

pytest.importorskip("optuna_dashboard")
import optuna_dashboard._app
import optuna_dashboard._custom_plot_data

from autocompress.actions.locate import locate
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.interfaces.dashboard import DashboardView, Models, open_server, serve
from autocompress.selection import violations
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView, read_study

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--virtual-time-budget=10000", "--window-size=1400,2400"),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a study of 20 trials, with trials that violate constraints and one with a test quality."""
    folder = tmp_path_factory.mktemp("dashboard")
    study = open_study(folder)
    with study.lease():
        search(study, 20)
        study.record_quality(2, quality("test", 0.0123))
        study.finish()
    study.close()
    return f"sqlite:///{folder / 'study.db'}"


@pytest.fixture(scope="module")
def view(url: str) -> StudyView:
    return read_study(url, "toy")


@pytest.fixture(scope="module")
def address(url: str) -> Iterator[str]:
    """The address of the study's page on a running server."""
    with serve_dashboard(url) as address:
        yield address


@pytest.fixture(scope="module")
def study_json(address: str) -> Any:
    """The JSON that the study's page reads."""
    with urllib.request.urlopen(address.replace("/dashboard/", "/api/")) as answer:
        return json.load(answer)


def test_private_names_of_the_pinned_dashboard_exist() -> None:
    """If this fails the pinned version has changed: read `dashboard.py` before raising the pin."""
    assert version("optuna-dashboard").startswith("0.21.")
    assert callable(optuna_dashboard._app.get_pareto_front_trials)
    assert callable(RDBStorage._get_trials)
    assert callable(optuna_dashboard._custom_plot_data.list_graph_object_ids)


def test_dashboard_front_equals_the_front_of_the_study(study_json: Any, view: StudyView) -> None:
    assert [trial["number"] for trial in study_json["best_trials"]] == [row.trial for row in view.front]
    complete = [row for row in view.rows if row.state == "complete"]
    assert any(
        violations(row, view.constraints)["max_drop"] > 0 for row in complete
    )  # not all complete trials are feasible


def test_dashboard_shows_constraints(study_json: Any, view: StudyView) -> None:
    for trial in study_json["trials"]:
        if trial["state"] in ("Complete", "Pruned"):
            expected = violations(view.row(trial["number"]), view.constraints)
            assert trial["constraints"] == pytest.approx(list(expected.values()))


def test_dashboard_shows_names_notes_and_plots(study_json: Any) -> None:
    assert study_json["objective_names"] == ["quality", "latency_ms", "size_mb"]
    assert study_json["note"]["body"].startswith("## The front of toy")
    assert "drop 1.23 points" in study_json["trials"][2]["note"]["body"]
    plots = {plot["id"]: json.loads(plot["graph_object"]) for plot in study_json["plotly_graph_objects"]}
    assert [trace["name"] for trace in plots["front"]["data"]] == ["other trials", "the front", "the teacher"]
    assert list(plots) == ["front", "growth", "drops"]
    growth = plots["growth"]["data"][0]
    assert growth["y"] == sorted(growth["y"]) and growth["x"] == sorted(growth["x"])
    menu = plots["drops"]["layout"]["updatemenus"][0]["buttons"]
    assert len(menu) == len(plots["drops"]["data"]) > 1


def test_dashboard_serves_the_model_of_a_trial(searched: Searched) -> None:
    located = locate(str(searched.file), None)
    view = located.view()
    row = view.front[0]
    with open_server(located.url, view.name, "127.0.0.1", 0, read_only=True) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        base = server.address.partition("/dashboard")[0]
        with urllib.request.urlopen(server.address.replace("/dashboard/", "/api/")) as answer:
            trial = next(trial for trial in json.load(answer)["trials"] if trial["number"] == row.trial)
        ids = {artifact["filename"]: artifact["artifact_id"] for artifact in trial["artifacts"]}
        assert {"model.onnx", "recipe.json", "tokenizer.json"} <= set(ids)
        folder = f"{base}/artifacts/{trial['study_id']}/{trial['trial_id']}"
        with urllib.request.urlopen(f"{folder}/{ids['model.onnx']}") as answer:
            model = answer.read()
        for wrong in (f"{'0' * 64}-0", f"{ids['model.onnx']}00", "-0"):
            with pytest.raises(urllib.error.HTTPError, match="404") as caught:
                urllib.request.urlopen(f"{folder}/{wrong}")
            caught.value.close()
        server.shutdown()
        thread.join()
    assert model == (located.store(view).artifact(row.sha256 or "") / "model.onnx").read_bytes()


def test_models_serves_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "models" / ("a" * 64)).mkdir(parents=True)
    (tmp_path / "models" / ("a" * 64) / "model.onnx").write_bytes(b"a model")
    models = Models([Store(tmp_path)])
    with models.open_reader(f"{'a' * 64}-0") as file:
        assert file.read() == b"a model"
    for wrong in ("", "-", f"{'a' * 64}", f"{'a' * 64}-1", f"{'a' * 64}-f", f"../{'a' * 61}-0", f"{'A' * 64}-0"):
        with pytest.raises(ArtifactNotFound):
            models.open_reader(wrong)
    models.remove(f"{'a' * 64}-0")
    assert models.listed("a" * 64) and not models.listed("b" * 64)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_read_only_dashboard_refuses_changes(address: str, url: str, method: str) -> None:
    request = urllib.request.Request(address.replace("/dashboard/", "/api/"), data=b"{}", method=method)
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(request)
    caught.value.close()
    assert read_study(url, "toy").rows


def test_writable_dashboard_deletes_our_rows_with_a_study(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "study.db"
    shutil.copy(url.removeprefix("sqlite:///"), copy)
    storage = DashboardView(f"sqlite:///{copy}", read_only=False)
    storage.delete_study(storage.get_study_id_from_name("toy"))
    storage.engine.dispose()
    connection = sqlite3.connect(copy)
    counts = [connection.execute(f"SELECT count(*) FROM ac_{kind}").fetchone()[0] for kind in ("studies", "candidates")]
    connection.close()
    assert counts == [0, 0]


def test_serve_names_a_port_in_use(url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AutocompressError, match=rf"port {port} of 127.0.0.1 cannot be used.*--port"):
            serve(url, "toy", port=port)


def test_serve_names_the_available_studies(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no study 'tay' \(available: toy\)"):
        serve(url, "tay")
    with pytest.raises(UsageError, match="no database"):
        serve(f"sqlite:///{tmp_path / 'none.db'}", None)


class Page(HTMLParser):
    """The text of a page, without scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.words: list[str] = []
        self._skip = False
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._skip = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skip = False

    def handle_data(self, data: str) -> None:
        if not self._skip and data.strip():
            self.words.append(data.strip())


def browse(address: str, profile: Path) -> Page:
    """Return the page after its scripts have run in the browser."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", address]
    browser = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return Page(browser.stdout)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium in PATH")
def test_dashboard_in_a_real_browser(address: str, view: StudyView, tmp_path: Path) -> None:
    home = browse(address, tmp_path / "home")
    assert {"quality", "latency_ms", "size_mb"} <= set(home.words)
    card = home.text.partition("Best Trials")[2]
    assert card.count("Objective Values = [") == len(view.front)
    assert all(f"Trial {row.trial} " in card for row in view.front)
    assert re.search(r"<div[^>]*\bhidden\b[^>]*>(?:(?!</h).)*Study Artifacts", home.html)  # nothing can be uploaded
    for title in ("The front (larger mark", "Hypervolume over time", "Drop by the value of a decision"):
        assert title in home.text
    member = view.front[0]
    page = browse(f"{address}/trials?numbers={member.trial}", tmp_path / "trial")
    list_text, _, detail_text = page.text.partition(f"Trial {member.trial} (trial_id=")
    chips = re.split(r"(?<!Best )Trial (\d+)", list_text)  # …, number, the text below it, number, …
    best = {int(number) for number, below in zip(chips[1::2], chips[2::2], strict=True) if "Best Trial" in below}
    assert best == {row.trial for row in view.front}
    assert member.recipe.describe() in detail_text
    assert f"max_drop {0.03:g} held" in detail_text
