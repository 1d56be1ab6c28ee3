"""Where a study named on the command line lies: its database, its study file, its store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autocompress.config import StudyPlan, read_as_begun, storage_of, storage_url, study_file
from autocompress.core.errors import UsageError
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView, read_study, studies
from autocompress.study.connections import parse_url, sqlite_path


@dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """A study: what was typed to name it, and where it is."""

    typed: str
    storage: str | None  # the option --storage, as typed
    url: str
    name: str

    def view(self, device: str | None = None) -> StudyView:
        """The study as it is now, on the device of that name."""
        return read_study(self.url, self.name, device)

    def plan(self, purpose: str) -> StudyPlan:
        """The plan that the study was begun with, read with its study file; `purpose` says in the error what for."""
        file = study_file(self.typed)
        if not file.is_file():
            raise UsageError(f"{purpose} needs the study file; name it instead of {self.typed!r}")
        return read_as_begun(file, self.view().plan, storage=self.storage)

    def store(self, view: StudyView) -> Store:
        """The store of its artifacts."""
        root = view.artifacts or self.plan("finding the models of a study whose database is no file").artifacts.path
        return Store(root)

    def words(self) -> list[str]:
        """The study as the words of a command."""
        return [self.typed, *(["--storage", self.storage] if self.storage else [])]


def locate(study: str, storage: str | None) -> StudyLocation:
    """The study that a STUDY and a --storage name; it need not exist yet."""
    stored = storage_of(study, storage)
    return StudyLocation(typed=study, storage=storage, url=stored.url, name=stored.study)


def locate_all(study: str | None, storage: str | None) -> list[StudyLocation]:
    """The one study that is named; without a name all in --storage, without that all of ./studies that were begun."""
    if study is not None:
        return [locate(study, storage)]
    if storage is not None:
        url = storage_url(storage, Path.cwd(), "--storage")
        return [StudyLocation(typed=name, storage=storage, url=url, name=name) for name in studies(url)]
    files = [locate(str(file), None) for file in sorted(Path("studies").glob("*.yaml"))]
    return [located for located in files if _begun(located)]


def locate_storage(study: str | None, storage: str | None) -> tuple[str, str | None]:
    """The database for a dashboard, and the study to open it at: the named one, else the only one."""
    if study is None and storage is not None:
        return storage_url(storage, Path.cwd(), "--storage"), None
    found = locate_all(study, storage)
    urls = sorted({located.url for located in found})
    if len(urls) != 1:
        names = ", ".join(located.typed for located in found)
        why = f"there are several ({names})" if found else "no study in ./studies was begun yet"
        raise UsageError(f"name a study, or a database with --storage: {why}")
    return urls[0], found[0].name if len(found) == 1 else None


def _begun(located: StudyLocation) -> bool:
    path = sqlite_path(parse_url(located.url))
    return (path is None or path.is_file()) and located.name in studies(located.url)
