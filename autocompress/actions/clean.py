"""What of a study's store can go: models that are not on the front, or the caches of the stages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.actions.locate import StudyLocation
from autocompress.core.errors import AutocompressError
from autocompress.study import StudyView, read_study, studies


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What would be removed of one study."""

    study: str
    what: str  # model | cache
    folders: tuple[Path, ...]
    bytes: int

    def carry_out(self) -> None:
        """Remove it."""
        for folder in self.folders:
            shutil.rmtree(folder)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"study": self.study, "what": self.what, "folders": len(self.folders), "bytes": self.bytes}


def plan_cleaning(located: StudyLocation, cache: bool) -> Cleaning:
    """What `clean` would remove: stage caches (computed again when they are needed), or models.

    Models stay that are on the front, were measured on test, or are a teacher, of this or another study in the database.
    AutocompressError while the study is being searched.
    """
    view = located.view()
    if view.running:
        raise AutocompressError(f"study {view.name} is being searched right now; clean it when the search has ended")
    root = located.store(view).root
    if cache:
        folders = sorted((root / "stages").glob("*/*"))
    else:
        kept = {
            sha256 for name in studies(located.url) for seen in _devices(located.url, name) for sha256 in _kept(seen)
        }
        own = {row.sha256 for seen in _devices(located.url, view.name) for row in seen.rows if row.sha256}
        folders = [root / "models" / sha256 for sha256 in sorted(own - kept) if (root / "models" / sha256).is_dir()]
    return Cleaning(
        study=view.name,
        what="cache" if cache else "model",
        folders=tuple(folders),
        bytes=sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()),
    )


def _devices(url: str, name: str) -> Iterator[StudyView]:
    """A study on each of its devices: an artifact for each runtime is kept of what is on any front."""
    first = read_study(url, name)
    yield first
    yield from (read_study(url, name, device) for device in first.devices[1:])


def _kept(view: StudyView) -> set[str]:
    rows = [row for row in view.rows if row.on_front or row.trial == 0 or row.test_quality is not None]
    return {row.sha256 for row in rows if row.sha256}
