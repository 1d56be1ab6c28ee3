"""The tables, the SQL view, and the settings of a database that is opened for writing."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from autocompress.core.errors import UsageError
from autocompress.study import Study, read_study
from autocompress.study.tables import Base
from tests.databases import execute
from tests.formula import outcome_of, plan_in, search, space
from tests.toy_study import ToyStudy, on_sqlite


def test_open_storage_creates_the_sql_view_anew(toy: ToyStudy) -> None:
    toy.open_storage()
    execute(toy.url, "DROP VIEW results")
    execute(toy.url, "CREATE VIEW results AS SELECT 1 AS old_decision")
    toy.open_storage()
    assert "old_decision" not in toy.column_names("results")


def test_migrations_create_the_tables_of_the_models(toy: ToyStudy) -> None:
    engine = toy.open_storage().engine
    with engine.connect() as connection:
        options = {"include_object": lambda thing, name, kind, *_: kind != "table" or name.startswith("ac_")}
        context = MigrationContext.configure(connection, opts={**options, "version_table": "ac_alembic_version"})
        assert compare_metadata(context, Base.metadata) == []
    versions = toy.sql("SELECT version_num FROM alembic_version")
    assert versions == [("v3.2.0.a",)]  # of Optuna


@on_sqlite
def test_sqlite_settings_allow_readers_during_a_search(toy: ToyStudy) -> None:
    engine = toy.open_storage().engine
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        assert values == ["wal", 1, 1]
        writer = sqlite3.connect(toy.folder / "study.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):  # the first transaction holds the write lock
            writer.execute("BEGIN IMMEDIATE")
        writer.close()


def test_deleting_optuna_study_cascades_to_our_rows(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        search(study, 2)
    optuna.delete_study(study_name="toy", storage=toy.open_storage())
    tables = ("ac_studies", "ac_teachers", "ac_candidates", "ac_artifacts", "ac_measurements")
    assert [toy.sql(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 5


@on_sqlite
def test_rows_without_optuna_study_are_not_inherited_by_a_new_study(toy: ToyStudy) -> None:
    study = toy.open()
    with study.lease():
        search(study, 2)
    optuna.delete_study(study_name="toy", storage=toy.optuna_storage())  # foreign keys are off
    assert toy.sql("SELECT count(*) FROM ac_candidates") != [(0,)]
    assert toy.open(study="other").teacher() is None
    assert read_study(toy.url, "other").rows == ()


def test_tell_converts_numpy_and_non_finite_numbers(begun: Study, toy: ToyStudy) -> None:
    asked = begun.ask()
    good = outcome_of(asked.recipe)
    assert good.measurement is not None
    conditions = {"seed": np.int64(3), "loss": float("nan"), "lengths": np.arange(3)}
    bad = replace(good.measurement, size_mb=float("inf"), conditions=conditions)
    begun.tell(asked.number, asked.recipe, replace(good, measurement=bad, facts={"heads": np.array([1, 2])}))
    row = toy.view().row(asked.number)
    assert (row.state, row.size_mb, row.reason) == ("failed", None, "size_mb missing or not finite")
    stored = toy.sql("SELECT conditions FROM ac_measurements ORDER BY id DESC LIMIT 1")[0][0]
    assert (json.loads(stored) if isinstance(stored, str) else stored) == {
        "seed": 3,
        "loss": None,
        "lengths": [0, 1, 2],
    }


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite://", "in memory"),
        ("nonsense", "SQLAlchemy URL"),
        ("nosuchdb://user:secret@host/x", "SQLAlchemy URL"),
        ("sqlite:////proc/nowhere/study.db", "cannot be written"),
    ],
)
def test_open_refuses_unusable_storages(storage: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Study.open(plan_in(tmp_path, storage=storage), space())
    assert "secret" not in str(caught.value)
