"""A database that an earlier version wrote is upgraded once, whole, beside a backup, and never while it is searched."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from autocompress.config import read_plan
from autocompress.core.errors import AutocompressError
from autocompress.core.recipe import Recipe
from autocompress.search.adoption import adopt_stages
from autocompress.storage.artifact_store import Store
from autocompress.study import Study, read_study
from autocompress.study.database import open_storage
from autocompress.study.lease import this_process
from autocompress.study.trial_details import read_conditions_of_artifacts
from tests.conftest import run_cli
from tests.formula import space


def sql(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_upgrade_rewrites_every_key_and_keeps_a_backup(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = stored / "studies.db"
    before = sql(database, "SELECT number, ac_study_id, recipe FROM ac_candidates ORDER BY id")
    queued = sql(
        database, "SELECT count(*) FROM trial_system_attributes WHERE key = 'ac_recipe' AND value_json <> '\"\"'"
    )
    with caplog.at_level(logging.WARNING):
        done = run_cli("storage", "upgrade", "one_device.yaml", "--json", cwd=stored)
    told = json.loads(done.stdout)
    assert (told["before"], told["after"]) == ("0005", "0006") and told["adopted"] > 0
    backup = Path(told["backup"])
    assert sql(backup, "SELECT version_num FROM ac_alembic_version") == [("0005",)]
    assert sql(backup, "SELECT number, ac_study_id, recipe FROM ac_candidates ORDER BY id") == before
    keys = dict.fromkeys(Recipe.from_dict(json.loads(recipe)).key for _, _, recipe in before)
    rows = sql(database, "SELECT recipe, recipe_key FROM ac_candidates")
    assert all(Recipe.from_dict(json.loads(recipe)).key == key for recipe, key in rows)
    attributes = sql(database, "SELECT value_json FROM trial_system_attributes WHERE key = 'ac_recipe'")
    present = [json.loads(value) for (value,) in attributes if value != '""']
    assert len(present) == queued[0][0]
    old = {key for (key,) in sql(backup, "SELECT recipe_key FROM ac_candidates")}
    assert not old & set(present)
    waiting = {key for key in present if key not in keys}  # enqueued, and never begun: told from their parameters
    assert len(waiting) <= 1
    again = json.loads(run_cli("storage", "upgrade", "one_device.yaml", "--json", cwd=stored).stdout)
    assert (again["before"], again["backup"], again["adopted"]) == ("0006", None, 0)


def test_upgrade_is_refused_while_a_study_is_searched(stored: Path) -> None:
    database = stored / "studies.db"
    connection = sqlite3.connect(database)
    connection.execute(
        "UPDATE ac_studies SET owner = 'x', owner_process = ?, beat = ? WHERE artifacts LIKE 'two%'",
        (json.dumps(this_process()), time.time()),
    )
    connection.commit()
    connection.close()
    with pytest.raises(AutocompressError, match="searches a study in it; stop that search first"):
        open_storage(f"sqlite:///{database}")
    assert sql(database, "SELECT version_num FROM ac_alembic_version") == [("0005",)]
    assert not list(stored.glob("*.backup"))


def test_an_upgrade_that_is_cut_short_changes_nothing(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autocompress.study import schema_upgrade as study_database

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    database = stored / "studies.db"
    before = sql(database, "SELECT recipe_key FROM ac_candidates ORDER BY id")
    with monkeypatch.context() as patch:
        patch.setattr(study_database, "remake_view", cut)  # the last thing that the transaction does
        with pytest.raises(KeyboardInterrupt):
            open_storage(f"sqlite:///{database}")
    assert sql(database, "SELECT recipe_key FROM ac_candidates ORDER BY id") == before
    assert sql(database, "SELECT version_num FROM ac_alembic_version") == [("0005",)]
    open_storage(f"sqlite:///{database}").engine.dispose()
    assert sql(database, "SELECT version_num FROM ac_alembic_version") == [("0006",)]


def test_outputs_of_an_unknown_runtime_version_are_left_to_be_scored_again(stored: Path) -> None:
    root = stored / "one_device" / "artifacts"
    url = f"sqlite:///{stored / 'studies.db'}"
    kinds = ("importance", "recovered", "outputs")
    counts = {kind: len(list((root / "stages" / kind).iterdir())) for kind in kinds}
    adopt_stages(Store(root), 0, {})
    after = {kind: len(list((root / "stages" / kind).iterdir())) for kind in kinds}
    assert after == {
        "importance": 2 * counts["importance"],
        "recovered": 2 * counts["recovered"],
        "outputs": counts["outputs"],
    }
    adopt_stages(Store(root), 0, read_conditions_of_artifacts(url, "one_device"))
    assert len(list((root / "stages" / "outputs").iterdir())) == 2 * counts["outputs"]


def test_linked_results_take_no_room_of_their_own(stored: Path) -> None:
    store = Store(stored / "one_device" / "artifacts")
    before = store.size_bytes()
    adopt_stages(store, 0, read_conditions_of_artifacts(f"sqlite:///{stored / 'studies.db'}", "one_device"))
    assert store.size_bytes() <= 1.2 * before  # what each was made from stands in a file of its own


def test_a_duplicate_of_a_trial_of_before_is_known(stored: Path) -> None:
    plan = read_plan(stored / "one_device.yaml")
    study = Study.open(plan, None)
    for row in read_study(plan.storage, plan.study).rows:
        if row.state == "complete" and row.rung is not None:
            duplicate = study.find_duplicate(row.recipe, row.rung)
            assert duplicate is not None and duplicate.state == "complete"


class Recording:
    """Stands in for an Optuna trial: what it is asked, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.append((name, "categorical", tuple(choices)))
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        self.asked.append((name, "int", low, high, step))
        return low

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        self.asked.append((name, "float", low, high, step))
        return low


def test_names_kinds_and_order_of_distributions_stay() -> None:
    trial = Recording()
    space().suggest(trial)
    assert trial.asked == [
        ("depth", "int", 1, 6, 1),
        ("attention", "categorical", ("full", "local")),
        ("attention_window", "int", 16, 32, 16),
        ("head_sparsity", "float", 0.0, 0.75, 0.25),
        ("ffn_sparsity", "float", 0.0, 0.9, 0.1),
        ("weight_bits", "categorical", (32, 8, 4)),
        ("embedding_bits", "categorical", (32, 8, 4)),
    ]
