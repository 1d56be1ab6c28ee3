"""Bring a database of an earlier version, and the caches of its studies, up to date: what `storage upgrade` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress.storage.artifact_store import Store
from autocompress.study import read_study, studies
from autocompress.study.connections import parse_url, reading_engine, shown, sqlite_path
from autocompress.study.database import open_storage
from autocompress.study.schema_upgrade import backup_path, schema_version
from autocompress.study.trial_details import read_conditions_of_artifacts


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What was done to a database."""

    storage: str  # without a password
    before: str | None  # version of our tables
    after: str | None
    backup: (
        str | None
    )  # path of the copy that was made first; null where nothing had to change, or the server keeps backups
    adopted: int  # cached results that are found under their present keys from now on

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def upgrade_storage(url: str) -> Upgrade:
    """Upgrade the tables of the database at `url`, then link the cached results of its studies under their present keys.

    UsageError where there is no database; AutocompressError while a study of it is being searched.
    """
    from autocompress.search.adoption import adopt_stages  # here, since it brings torch

    before = _version(url)
    path = sqlite_path(parse_url(url))
    open_storage(url, upgrade=True).engine.dispose()
    after = _version(url)
    backup = backup_path(path, before) if path is not None and before not in (None, after) else None
    adopted = 0
    for name in studies(url):
        view = read_study(url, name)
        if view.artifacts is not None and view.artifacts.is_dir():
            conditions = read_conditions_of_artifacts(url, name)
            adopted += adopt_stages(Store(view.artifacts), int(view.plan.get("seed", 0)), conditions)
    return Upgrade(
        storage=shown(url), before=before, after=after, backup=str(Path(backup)) if backup else None, adopted=adopted
    )


def _version(url: str) -> str | None:
    engine = reading_engine(url)
    try:
        with engine.connect() as connection:
            return schema_version(connection)
    finally:
        engine.dispose()
