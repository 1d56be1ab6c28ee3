"""From a study file to a `StudyPlan`: overrides, variables, defaults, paths, and every name that is cheap to check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autocompress.config.messages import available, sentence
from autocompress.config.paths import (
    data_path,
    expand,
    hub_data_path,
    is_packaged,
    local_path,
    looks_local,
    model_path,
    read_space,
)
from autocompress.config.schema import HubData, StudyPlan
from autocompress.config.storage_url import default_storage, storage_url
from autocompress.config.yaml_documents import parse, read_mapping, value_at
from autocompress.core import registry
from autocompress.core.errors import UsageError
from autocompress.core.recipe import DECISIONS

BEGUN = "the study was begun with"  # what messages begin with where it is from there
Place = Callable[[str], str]  # key path -> what a message begins with


def read_plan(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    trust_remote_code: bool = False,
    storage: str | None = None,
) -> StudyPlan:
    """The plan in a study file, checked as far as can be without loading model or data.

    `overrides` are `key.path=value` (as after `--set`); their paths, too, are relative to the study file. `storage`
    (as after `--storage`) wins over the file and is relative to the working folder. A metric of the hub needs
    `trust_remote_code`, for it is a program. Every failure is one UsageError.
    """
    path = Path(path)
    written = read_mapping(path, "study file")
    changed = [_override(written, text, path) for text in overrides]
    return _read(path, written, changed, "--set", trust_remote_code, storage)


def read_as_begun(path: str | Path, stored: Mapping[str, Any], *, storage: str | None = None) -> StudyPlan:
    """The plan of a study that exists: what must not change in it is as `stored`, whatever options said when it was begun
    and edits of the file since; the rest is of the file. Errors as of `read_plan`.
    """
    path = Path(path)
    plan = read_plan(path, storage=storage)
    changed = [key for key in plan.difference(stored) if not (plan.devices and key.startswith("device."))]
    if not changed:
        return plan
    written = read_mapping(path, "study file")
    for key_path in changed:
        parents, _, last = key_path.rpartition(".")
        part, then = _part(written, parents, path, f"{BEGUN} {key_path}"), value_at(stored, parents) or {}
        if last in then:
            part[last] = then[last]
        else:
            part.pop(last, None)
    return _read(path, written, changed, BEGUN, False, storage)


def _read(
    path: Path, written: dict[str, Any], changed: Sequence[str], by: str, trust_remote_code: bool, storage: str | None
) -> StudyPlan:
    """The plan in a document, whose `changed` key paths are not from the file; `by` says in messages where they are from."""

    def place(key_path: str) -> str:
        other_devices = any(f"{key}.".startswith(f"{key_path}.") or key_path.startswith(f"{key}.") for key in changed)
        return f"{by} {key_path}" if other_devices else f"{path.name}: {key_path}"

    values = expand(written, place)
    values["study"] = path.stem if values.get("study") is None else values["study"]
    plan = _validated(values, place)
    given = frozenset(plan.recovery.model_fields_set)
    _check_names(plan, place)
    resolved, paths = _resolve_paths(plan, path, place, trust_remote_code)
    if storage is not None:
        resolved["storage"] = storage_url(storage, Path.cwd(), "--storage")
    plan = _validated(resolved, place)
    plan._file, plan._given = path.name, given
    plan._named_space = isinstance(values.get("space", "encoder"), str) and is_packaged(
        str(values.get("space") or "encoder"), path.absolute().parent
    )
    plan._written = {key_path: text for key_path in paths if isinstance(text := value_at(written, key_path), str)}
    return plan


def _override(values: dict[str, Any], text: str, file: Path) -> str:
    """Put one `key.path=value` into the document; returns the key path."""
    key_path, sign, value = text.partition("=")
    key_path = key_path.strip()
    if not sign or not all(key_path.split(".")):
        raise UsageError(f"--set {text}: KEY.PATH=VALUE is the form, e.g. --set device.threads=2")
    parents, _, last = key_path.rpartition(".")
    _part(values, parents, file, f"--set {key_path}")[last] = parse(value, f"--set {key_path}")
    return key_path


def _part(values: dict[str, Any], key_path: str, file: Path, place: str) -> dict[str, Any]:
    """The mapping at a key path of a document, made where there is none."""
    part = values
    for key in filter(None, key_path.split(".")):
        inner = part.get(key)
        if part is values and key == "space" and isinstance(inner, (str, type(None))):
            # so that one decision can be changed
            inner = read_space(inner or "encoder", file.absolute().parent, place)
        if not isinstance(inner, (dict, type(None))):
            raise UsageError(f"{place}: {key} is {inner!r}, which has no keys; set it as a whole")
        part[key] = inner or {}
        part = part[key]
    return part


def _validated(values: Mapping[str, Any], place: Place) -> StudyPlan:
    try:
        return StudyPlan.model_validate(values)
    except ValidationError as error:
        raise UsageError(sentence(error, StudyPlan, place)) from None


def _check_names(plan: StudyPlan, place: Place) -> None:
    kinds = [name.replace("_", "-") for name in registry.names("tasks")]
    runtimes = registry.names("runtimes")
    if plan.task.kind not in kinds:
        raise UsageError(f"{place('task.kind')}: unknown task {plan.task.kind!r}{available(plan.task.kind, kinds)}")
    for key_path, device in plan.by_key_path.items():
        if device.runtime not in runtimes:
            words = available(device.runtime, runtimes)
            raise UsageError(f"{place(f'{key_path}.runtime')}: unknown runtime {device.runtime!r}{words}")


def _resolve_paths(
    plan: StudyPlan, file: Path, place: Place, trust_remote_code: bool
) -> tuple[dict[str, Any], list[str]]:
    """The plan's values with paths absolute, storage filled in and the space read; and the key paths of the paths."""
    folder = file.absolute().parent
    values = plan.model_dump()
    paths = ["teacher.model"]
    values["teacher"]["model"] = model_path(plan.teacher.model, folder, place("teacher.model"))
    for split in ("train", "validation", "test", "unlabelled"):
        source, key_path = getattr(plan.task.data, split), f"task.data.{split}"
        if isinstance(source, HubData):
            key_path += ".path"
            values["task"]["data"][split]["path"] = hub_data_path(source.path, folder, place(key_path))
        elif source is not None:
            values["task"]["data"][split] = data_path(source, folder, place(key_path))
        paths.append(key_path)
    for key_path, device in plan.by_key_path.items():
        if device.ca is not None:
            value_at(values, key_path)["ca"] = local_path(str(device.ca), folder, place(f"{key_path}.ca"))
    if plan.main_device is not None:
        values["device"] = values["devices"][plan.main_device]
    values["task"]["metric"] = _metric(plan.task.metric, folder, place("task.metric"), trust_remote_code)
    values["space"] = _space(plan.space, folder, place)
    values["storage"] = (
        storage_url(plan.storage, folder, place("storage")) if plan.storage else default_storage(folder, plan.study)
    )
    artifacts = str(plan.artifacts.path or Path(plan.study) / "artifacts")
    values["artifacts"]["path"] = local_path(artifacts, folder, place("artifacts.path"))
    return values, [*paths, "task.metric"]


def _metric(name: str, folder: Path, place: str, trust_remote_code: bool) -> str:
    known = registry.names("metrics")
    if name in known:
        return name
    path = local_path(name, folder, place)
    if path.exists():
        return str(path)
    if looks_local(name):
        raise UsageError(f"{place}: there is no metric at {path}; available: {', '.join(known)}")
    if not trust_remote_code:
        raise UsageError(
            f"{place}: unknown metric {name!r}{available(name, known)}; "
            "a metric of the hub is a program and needs --trust-remote-code"
        )
    return name


def _space(space: str | dict[str, Any], folder: Path, place: Place) -> dict[str, Any]:
    values = space if isinstance(space, dict) else read_space(space, folder, place("space"))
    for decision in values:
        if decision not in DECISIONS:
            where = place(f"space.{decision}") if isinstance(space, dict) else f"{place('space')} ({space})"
            raise UsageError(f"{where}: unknown decision {decision!r}{available(decision, DECISIONS)}")
    return values
