"""From the content of a study file to a `StudyPlan`: absolute paths, defaults, and names that must exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from autocompress.config.messages import Place, available, validate
from autocompress.config.paths import (
    data_path,
    hub_data_path,
    local_path,
    looks_local,
    model_path,
)
from autocompress.config.plan import ArtifactFolder, PlanSource, StudyPlan
from autocompress.config.sections import Data, Device, HubData, Source
from autocompress.config.space_files import INITIAL, read_space
from autocompress.config.storage_url import default_storage, storage_url
from autocompress.config.study_file import StudyFile
from autocompress.core import registry
from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json
from autocompress.core.task_columns import TaskDeclaration, load_declaration, task_names
from autocompress.core.technique import ordered_techniques

SOURCES = ("train", "validation", "test", "unlabelled")  # fields of Data


def resolve(
    content: StudyFile, path: Path, place: Place, source: PlanSource, *, trust_remote_code: bool = False
) -> StudyPlan:
    """Return the plan that the study file at `path` describes; UsageError for a name or a path that does not exist.

    Relative paths are relative to the file's folder. `place` turns a key path into the beginning of a message.
    """
    _check_names(content, place)
    folder = path.absolute().parent
    study = content.study or path.stem
    model = model_path(content.teacher.model, folder, place("teacher.model"))
    data = _resolve_data(content.task.data, folder, place)
    devices = {
        key_path: _resolve_certificate(device, folder, place(f"{key_path}.ca"))
        for key_path, device in content.by_key_path.items()
    }
    declaration = load_declaration(content.task.kind)
    named = content.task.metric if "metric" in content.task.model_fields_set else declaration.default_metric
    task = {
        "data": data,
        "columns": _resolve_columns(declaration, content.task.columns, place),
        "metric": _resolve_metric(named, folder, place("task.metric"), trust_remote_code),
    }
    resolved = {
        "study": study,
        "teacher": content.teacher.model_copy(update={"model": model}),
        "task": content.task.model_copy(update=task),
        "device": next(iter(devices.values())),
        "devices": {name: devices[f"devices.{name}"] for name in content.devices},
        "space": _resolve_space(content.space, folder, place),
        "storage": _resolve_storage(content.storage, study, folder, place("storage")),
        "artifacts": _resolve_artifacts(content, study, folder, place("artifacts.path")),
        "start": None if content.start is None else local_path(str(content.start), folder, place("start")),
        "source": source,
    }
    return validate(StudyPlan, {**dict(content), **resolved}, place)


def path_keys(content: StudyFile) -> Iterator[str]:
    """Yield the key paths whose values are paths or names of something outside the study file."""
    yield "teacher.model"
    for name in SOURCES:
        is_hub = isinstance(getattr(content.task.data, name), HubData)
        yield f"task.data.{name}.path" if is_hub else f"task.data.{name}"
    yield "task.metric"
    if content.start is not None:
        yield "start"


def _check_names(content: StudyFile, place: Place) -> None:
    kinds, kind = task_names(), content.task.kind
    if kind not in kinds:
        raise UsageError(f"{place('task.kind')}: unknown task {kind!r}{available(kind, kinds)}")
    runtimes = registry.names("runtimes")
    for key_path, device in content.by_key_path.items():
        if device.runtime not in runtimes:
            hint = available(device.runtime, runtimes)
            raise UsageError(f"{place(f'{key_path}.runtime')}: unknown runtime {device.runtime!r}{hint}")


def _resolve_data(data: Data, folder: Path, place: Place) -> Data:
    sources = {name: getattr(data, name) for name in SOURCES}
    return data.model_copy(
        update={
            name: _resolve_source(source, folder, place, f"task.data.{name}")
            for name, source in sources.items()
            if source is not None
        }
    )


def _resolve_columns(
    declaration: TaskDeclaration, columns: Mapping[str, str | None], place: Place
) -> dict[str, str | None]:
    """Return the column of every role of the task, the usual one where the study file names none."""
    for role in columns:
        if role not in declaration.columns:
            hint = available(role, sorted(declaration.columns))
            raise UsageError(f"{place(f'task.columns.{role}')}: unknown key{hint}")
    resolved = {role: declaration.column(columns, role) for role in declaration.columns}
    for role, name in resolved.items():
        if name is None and declaration.columns[role].is_required:
            holds = declaration.columns[role].holds
            raise UsageError(f"{place(f'task.columns.{role}')}: missing; name the column that holds {holds}")
    named = [name for name in resolved.values() if name is not None]
    if len(set(named)) < len(named):
        raise UsageError(f"{place('task.columns')}: each key must name a different column, but got {', '.join(named)}")
    return resolved


def _resolve_source(source: Source, folder: Path, place: Place, key_path: str) -> Source:
    if isinstance(source, HubData):
        path = hub_data_path(source.path, folder, place(f"{key_path}.path"))
        return source.model_copy(update={"path": path})
    return data_path(source, folder, place(key_path))


def _resolve_certificate(device: Device, folder: Path, place: str) -> Device:
    if device.ca is None:
        return device
    return device.model_copy(update={"ca": local_path(str(device.ca), folder, place)})


def _resolve_metric(name: str, folder: Path, place: str, trust_remote_code: bool) -> str:
    metrics = registry.names("metrics")
    if name in metrics:
        return name
    path = local_path(name, folder, place)
    if path.exists():
        return str(path)
    if looks_local(name):
        raise UsageError(f"{place}: no metric at {path}; available: {', '.join(metrics)}")
    if not trust_remote_code:
        raise UsageError(
            f"{place}: unknown metric {name!r}{available(name, metrics)}; "
            "a metric from the hub runs its own code and needs --trust-remote-code"
        )
    return name


def _resolve_space(space: str | Json, folder: Path, place: Place) -> Json:
    """Return the mapping of a space, whose decisions are known; UsageError, which names the place, for any other."""
    mapping = space if isinstance(space, dict) else read_space(space, folder, place("space"))

    def place_of(key: str) -> str:
        return place(f"space.{key}") if isinstance(space, dict) else f"{place('space')} ({space})"

    _check_decisions([name for name in mapping if name != INITIAL], place_of)
    initial = mapping.get(INITIAL) or []
    if not isinstance(initial, list) or not all(isinstance(values, dict) for values in initial):
        raise UsageError(
            f"{place_of(INITIAL)}: a list of mappings from decisions to values is needed, but got {initial!r}"
        )
    for number, values in enumerate(initial):
        _check_decisions(values, partial(_place_of_initial, place_of, number))
    return mapping


def _place_of_initial(place_of: Place, number: int, name: str) -> str:
    return place_of(f"{INITIAL}.{number}.{name}")


def _check_decisions(names: Iterable[str], place_of: Place) -> None:
    known = list(ordered_techniques())
    for name in names:
        if name not in known:
            raise UsageError(f"{place_of(name)}: unknown decision {name!r}{available(name, known)}")


def _resolve_storage(storage: str | None, study: str, folder: Path, place: str) -> str:
    return storage_url(storage, folder, place) if storage else default_storage(folder, study)


def _resolve_artifacts(content: StudyFile, study: str, folder: Path, place: str) -> ArtifactFolder:
    path = content.artifacts.path or Path(study) / "artifacts"
    return ArtifactFolder(path=local_path(str(path), folder, place), max_gb=content.artifacts.max_gb)
