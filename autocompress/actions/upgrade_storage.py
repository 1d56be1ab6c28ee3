"""Upgrade a database that an earlier version wrote, and the stage caches of its studies."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from autocompress.storage.artifact_store import Store
from autocompress.study import read_study, studies
from autocompress.study.connections import parse_url, reading_engine, shown, sqlite_path
from autocompress.study.database import open_storage
from autocompress.study.schema_upgrade import backup_path, schema_version
from autocompress.study.trial_details import read_conditions_of_artifacts


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """The result of upgrading a database."""

    storage: str  # without a password
    before: str | None  # schema version of the autocompress tables
    after: str | None
    backup: str | None  # path of the copy made first; null if nothing changed, or if a server holds the database
    adopted: int  # cached results that are now stored under their present keys

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return asdict(self)


def upgrade_storage(url: str) -> Upgrade:
    """Upgrade the tables of the database at `url`, then link cached results of its studies under their present keys.

    Raises UsageError if there is no database; AutocompressError while a search of one of its studies runs.
    """
    from autocompress.search.adoption import adopt_stages  # imported late because it imports torch

    before = _read_version(url)
    path = sqlite_path(parse_url(url))
    open_storage(url, upgrade=True).engine.dispose()
    after = _read_version(url)
    backup = backup_path(path, before) if path is not None and before not in (None, after) else None
    adopted = 0
    for name in studies(url):
        view = read_study(url, name)
        if view.artifacts is not None and view.artifacts.is_dir():
            conditions = read_conditions_of_artifacts(url, name)
            adopted += adopt_stages(Store(view.artifacts), int(view.plan.get("seed", 0)), conditions)
    return Upgrade(
        storage=shown(url), before=before, after=after, backup=str(backup) if backup else None, adopted=adopted
    )


def _read_version(url: str) -> str | None:
    engine = reading_engine(url)
    try:
        with engine.connect() as connection:
            return schema_version(connection)
    finally:
        engine.dispose()
