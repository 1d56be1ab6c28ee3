"""Find a study that a command names: its database, its study file and its artifact store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from autocompress.config import StudyPlan, read_as_begun, storage_of, storage_url, study_file
from autocompress.core.errors import UsageError
from autocompress.core.teacher_warning import TeacherWarning
from autocompress.data.source_files import changed_sources
from autocompress.storage.artifact_store import Store
from autocompress.study import StudyView, read_study, studies
from autocompress.study.connections import parse_url, sqlite_path
from autocompress.study.trial_details import read_trial_details

REFRESH = (
    "the study describes what was there before; to bring a chosen model up to date, restore that, and give the new files to"
    " `autocompress refresh`"
)


@dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """A study: how the command line named it, and where it is stored."""

    typed: str
    storage: str | None  # the option --storage, as typed
    url: str
    name: str
    given: StudyPlan | None = None  # the plan, where the caller has it

    def view(self, device: str | None = None) -> StudyView:
        """Read the study as it is now, on the device of that name."""
        return read_study(self.url, self.name, device)

    def checked_view(self, device: str | None = None) -> StudyView:
        """Read the study, with a warning where files of its teacher or its rows have changed since it was begun.

        Without the study file, or with paths that no longer exist, nothing is checked.
        """
        found = [TeacherWarning(finding=change, remedy=REFRESH) for change in self.changes()]
        view = self.view(device)
        return replace(view, warnings=(*view.warnings, *found))

    def changes(self) -> list[str]:
        """Return in words which files of the teacher or the rows have changed since the study was begun."""
        try:
            plan = self.plan("looking for changed files")
            facts = read_trial_details(self.url, self.name, 0).outcome.facts
        except UsageError:
            return []
        changed = changed_sources(plan, facts.get("sources", {}))
        return [f"{key} changed since the study was begun ({', '.join(names)})" for key, names in changed.items()]

    def plan(self, purpose: str) -> StudyPlan:
        """Read the plan that the study was begun with; `purpose` tells in the error why the study file is needed."""
        if self.given is not None:
            return _check_as_begun(self.given, self.view())
        file = study_file(self.typed)
        if not file.is_file():
            raise UsageError(f"{self.typed}: {purpose} needs the study file; name the file instead of the study")
        return read_as_begun(file, self.view().plan, storage=self.storage)

    def store(self, view: StudyView) -> Store:
        """Return the store of the study's artifacts."""
        root = view.artifacts or self.plan("finding the models of a study in a database server").artifacts.path
        return Store(root)

    def arguments(self) -> list[str]:
        """Return the arguments that name the study on a command line."""
        return [self.typed, *(["--storage", self.storage] if self.storage else [])]


def locate(study: str, storage: str | None) -> StudyLocation:
    """Return the location of the study that STUDY and --storage name; the study may not exist yet."""
    stored = storage_of(study, storage)
    return StudyLocation(typed=study, storage=storage, url=stored.url, name=stored.study)


def locate_all(study: str | None, storage: str | None) -> list[StudyLocation]:
    """Return the named study; without a name all studies in --storage; without both all begun ones in ./studies."""
    if study is not None:
        return [locate(study, storage)]
    if storage is not None:
        url = storage_url(storage, Path.cwd(), "--storage")
        return [StudyLocation(typed=name, storage=storage, url=url, name=name) for name in studies(url)]
    locations = [locate(str(file), None) for file in sorted(Path("studies").glob("*.yaml"))]
    return [location for location in locations if _is_begun(location)]


def locate_storage(study: str | None, storage: str | None) -> tuple[str, str | None]:
    """Return the URL of the database and the name of the study in it: the named one, else the only one, else null."""
    if study is None and storage is not None:
        return storage_url(storage, Path.cwd(), "--storage"), None
    locations = locate_all(study, storage)
    urls = sorted({location.url for location in locations})
    if len(urls) != 1:
        names = ", ".join(location.typed for location in locations)
        state = f"./studies has several ({names})" if locations else "no study in ./studies was begun yet"
        raise UsageError(f"{state}; name a study, or a database with --storage")
    return urls[0], locations[0].name if len(locations) == 1 else None


def _check_as_begun(plan: StudyPlan, view: StudyView) -> StudyPlan:
    """Return a given plan, with the values of the packaged space that the study began with; UsageError where it differs."""
    plan = plan.as_stored(view.plan)
    changed = [key for key in plan.difference(view.plan) if not (plan.devices and key.startswith("device."))]
    if changed:
        raise UsageError(
            f"{plan.place(changed[0])}: study {view.name!r} was begun with another value; pass the plan that it was begun with"
        )
    return plan


def _is_begun(located: StudyLocation) -> bool:
    path = sqlite_path(parse_url(located.url))
    return (path is None or path.is_file()) and located.name in studies(located.url)
