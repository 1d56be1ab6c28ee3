"""What differs on PostgreSQL: the SQL view, deletion, the dashboard, upgrades on request, and errors of reading.

The tests of writing, resuming, interruptions and the lease run on PostgreSQL, too: see `storage_url` and `toy`.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request

import optuna
import pytest

from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.recipe import Recipe
from autocompress.selection import on_front, violations
from autocompress.study import read_study, studies
from autocompress.study.database import open_storage
from autocompress.study.migrations.versions.v0006_recipe_keys import NEUTRAL
from tests.conftest import run_cli
from tests.databases import execute
from tests.formula import search
from tests.toy_study import ToyStudy, on_postgresql, serve_dashboard, wait_for

pytestmark = on_postgresql
SCHEMA_VERSION = "SELECT version_num FROM ac_alembic_version"


@pytest.fixture
def outdated(toy: ToyStudy) -> ToyStudy:
    """A study whose tables an earlier version wrote, with other keys of its recipes, and without later decisions."""
    study = toy.open()
    with study.lease():
        search(study, 3)
    later = "".join(f" - '{name}'" for name in Recipe() if name not in NEUTRAL)
    execute(toy.url, f"UPDATE ac_candidates SET recipe = (recipe::jsonb{later})::json")
    execute(toy.url, "UPDATE ac_candidates SET recipe_key = 'key of version 5: ' || number")
    execute(toy.url, "UPDATE ac_alembic_version SET version_num = '0005'")
    return toy


def test_search_and_delete_on_postgresql(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        search(study, 5)
        study.finish()
    view = toy.view()
    assert len(view.rows) >= 6
    assert view.artifacts is None
    with toy.open(constraints={"max_drop": 0.01}).lease():
        pass
    first = view.row(1)
    assert toy.sql('SELECT depth, ffn_sparsity, attention, "drop" FROM results WHERE trial = 1') == [
        (first.recipe["depth"], first.recipe["ffn_sparsity"], first.recipe["attention"], first.drop)
    ]
    optuna.delete_study(study_name="toy", storage=toy.optuna_storage())
    assert studies(toy.url) == []
    assert toy.sql("SELECT count(*) FROM ac_candidates") == [(0,)]


def test_killed_search_continues_to_its_front_on_postgresql(toy: ToyStudy) -> None:
    with toy.process("loop") as process:
        wait_for(process, "asked", 6)
        os.killpg(process.pid, signal.SIGKILL)
    finished = [row for row in toy.view().rows if row.state != "running"]
    study = toy.open()
    with study.lease():
        search(study, 9)
    view = toy.view()
    assert [(row.trial, row.quality) for row in finished] == [
        (row.trial, row.quality) for row in view.rows if row.trial in {kept.trial for kept in finished}
    ]
    assert {row.state for row in view.rows} <= {"complete", "stopped", "failed"}
    assert {row.trial for row in view.front} == on_front(view.rows, view.objectives, view.constraints) != set()


def test_dashboard_shows_the_front_on_postgresql(toy: ToyStudy) -> None:
    pytest.importorskip("optuna_dashboard")
    study = toy.open()
    with study.lease():
        search(study, 9)
        study.finish()
    view = toy.view()
    with serve_dashboard(toy.url) as address:
        api = address.replace("/dashboard/", "/api/")
        with urllib.request.urlopen(api) as answer:
            shown = json.load(answer)
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(urllib.request.Request(api, method="DELETE"))
        refused.value.close()
    assert [trial["number"] for trial in shown["best_trials"]] == [row.trial for row in view.front]
    assert shown["note"]["body"].startswith("## The front of toy")
    for trial in shown["trials"]:
        if trial["state"] in ("Complete", "Pruned"):
            expected = violations(view.row(trial["number"]), view.constraints)
            assert trial["constraints"] == pytest.approx(list(expected.values()))


def test_deleting_in_the_dashboard_cascades_on_postgresql(toy: ToyStudy) -> None:
    pytest.importorskip("optuna_dashboard")
    from autocompress.interfaces.dashboard import DashboardView

    toy.open()
    storage = DashboardView(toy.url, read_only=False)
    storage.delete_study(storage.get_study_id_from_name("toy"))
    storage.engine.dispose()
    assert toy.sql("SELECT count(*) FROM ac_studies") == [(0,)]


def test_upgrade_is_refused_until_it_is_requested(outdated: ToyStudy) -> None:
    with pytest.raises(
        UsageError, match=r"earlier version \(schema 0005\); back it up, then run `autocompress storage"
    ):
        outdated.open()
    assert outdated.sql(SCHEMA_VERSION) == [("0005",)]
    done = run_cli("storage", "upgrade", "--storage", outdated.url, "--json", cwd=outdated.folder)
    upgrade = json.loads(done.stdout)
    assert (upgrade["before"], upgrade["after"], upgrade["backup"]) == ("0005", "0006", None)
    assert outdated.sql(SCHEMA_VERSION) == [("0006",)]
    keys = dict(outdated.sql("SELECT number, recipe_key FROM ac_candidates"))
    assert keys == {row.trial: row.recipe.key for row in outdated.view().rows}
    assert outdated.open().find_duplicate(outdated.view().rows[1].recipe) is not None


def test_upgrade_is_refused_during_a_search(toy: ToyStudy) -> None:
    with toy.open().lease():
        execute(toy.url, "UPDATE ac_alembic_version SET version_num = '0005'")
        with pytest.raises(AutocompressError, match="searches a study in it; stop that search first"):
            open_storage(toy.url, upgrade=True)
        assert toy.sql(SCHEMA_VERSION) == [("0005",)]


def test_reading_errors_on_postgresql(toy: ToyStudy) -> None:
    with pytest.raises(UsageError, match="no study in postgresql"):
        studies(toy.url)
    toy.open()
    execute(toy.url, "ALTER TABLE ac_studies DROP COLUMN recovery")
    with pytest.raises(AutocompressError, match="upgrade it with `autocompress storage upgrade`"):
        toy.view()
    with pytest.raises(AutocompressError, match=r"storage: postgresql.* cannot be read: .*does not exist"):
        read_study(f"{toy.url}&dbname=nowhere", "toy")
