"""Find and free disk space of a study: models that are off the front, or cached stages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autocompress.actions.locate import StudyLocation
from autocompress.core.errors import AutocompressError
from autocompress.storage.artifact_store import ArtifactStore
from autocompress.study import StudyView, read_study, studies


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """The folders of one study that can be removed."""

    study: str
    what: str  # model | cache
    folders: tuple[Path, ...]
    bytes: int

    def remove_folders(self) -> None:
        """Delete the folders."""
        for folder in self.folders:
            shutil.rmtree(folder)

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {"study": self.study, "what": self.what, "folders": len(self.folders), "bytes": self.bytes}


def plan_cleaning(located: StudyLocation, cache: bool) -> Cleaning:
    """List what `clean` removes: models, or with `cache` the stage caches, which are computed again when needed.

    Models on a front, models measured on test and teachers are kept, for this study and every other study in the
    database. Raises AutocompressError while the study is being searched.
    """
    view = located.view()
    if view.running:
        raise AutocompressError(f"study {view.name}: a search is running; wait until it ends, then clean")
    store = located.store(view)
    folders = store.stage_folders() if cache else _removable_models(located, view, store)
    return Cleaning(
        study=view.name,
        what="cache" if cache else "model",
        folders=tuple(folders),
        bytes=sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()),
    )


def _removable_models(located: StudyLocation, view: StudyView, store: ArtifactStore) -> list[Path]:
    """Return the model folders of this study that no study in the database needs."""
    needed = {
        sha256
        for name in studies(located.url)
        for device_view in _device_views(located.url, name)
        for sha256 in _needed_models(device_view)
    }
    of_study = {
        row.sha256
        for device_view in _device_views(located.url, view.name)
        for row in device_view.rows
        if row.sha256 is not None
    }
    return [store.artifact(sha256) for sha256 in sorted(of_study - needed) if store.has_artifact(sha256)]


def _device_views(url: str, name: str) -> Iterator[StudyView]:
    """Yield the study as each of its devices measured it: every device has a front of its own."""
    first = read_study(url, name)
    yield first
    yield from (read_study(url, name, device) for device in first.devices[1:])


def _needed_models(view: StudyView) -> set[str]:
    rows = [row for row in view.rows if row.on_front or row.trial == 0 or row.test_quality is not None]
    return {row.sha256 for row in rows if row.sha256}
