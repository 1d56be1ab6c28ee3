"""Read a study file: apply overrides, expand variables, validate, and resolve it to a `StudyPlan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autocompress.config.messages import validate
from autocompress.config.paths import expand_variables
from autocompress.config.plan import PlanSource, StudyPlan
from autocompress.config.resolution import path_keys, resolve
from autocompress.config.space_files import DEFAULT_SPACE, is_packaged, read_space
from autocompress.config.storage_url import storage_url
from autocompress.config.study_file import StudyFile
from autocompress.config.yaml_documents import parse, read_mapping, value_at
from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json

BEGUN = "the study was begun with"  # begins the message for a value that the study's database holds


def read_plan(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    trust_remote_code: bool = False,
    storage: str | None = None,
) -> StudyPlan:
    """Return the plan in a study file, checked as far as possible without loading the model or the data.

    `overrides` are `key.path=value`, as after `--set`; paths in them are relative to the study file. `storage`, as after
    `--storage`, replaces the file's and is relative to the working folder. A metric from the hub runs its own code and
    needs `trust_remote_code`. Every failure is a UsageError.
    """
    path = Path(path)
    document = read_mapping(path, "study file")
    changed = [_apply_override(document, text, path) for text in overrides]
    return _read_document(path, document, changed, "--set", trust_remote_code, storage)


def read_as_begun(path: str | Path, stored: Mapping[str, object], *, storage: str | None = None) -> StudyPlan:
    """Return the plan of a study that exists.

    The keys that must not change are as `stored`, whatever options the study began with and however the file was edited
    since; all other keys are the file's. Raises the errors of `read_plan`.
    """
    path = Path(path)
    plan = read_plan(path, storage=storage).as_stored(stored)
    changed = [key for key in plan.difference(stored) if not (plan.devices and key.startswith("device."))]
    if not changed:
        return plan
    document = read_mapping(path, "study file")
    for key_path in changed:
        parents, _, last = key_path.rpartition(".")
        section = _section_at(document, parents, path, f"{BEGUN} {key_path}", replaces_words=True)
        stored_section = value_at(stored, parents) or {}
        if last in stored_section:
            section[last] = stored_section[last]
        else:
            section.pop(last, None)
    return _read_document(path, document, changed, BEGUN, False, storage).as_stored(stored)


def _read_document(
    path: Path,
    document: Json,
    changed: Sequence[str],
    change_source: str,
    trust_remote_code: bool,
    storage: str | None,
) -> StudyPlan:
    """Return the plan in a document; messages name `change_source` for the `changed` key paths, else the file."""

    def place(key_path: str) -> str:
        is_changed = any(f"{key}.".startswith(f"{key_path}.") or key_path.startswith(f"{key}.") for key in changed)
        return f"{change_source} {key_path}" if is_changed else f"{path.name}: {key_path}"

    content = validate(StudyFile, expand_variables(document, place), place)
    source = PlanSource(
        file_name=path.name,
        recovery_keys=frozenset(content.recovery.model_fields_set),
        written_paths={key: text for key in path_keys(content) if isinstance(text := value_at(document, key), str)},
        has_packaged_space=isinstance(content.space, str) and is_packaged(content.space, path.absolute().parent),
    )
    plan = resolve(content, path, place, source, trust_remote_code=trust_remote_code)
    if storage is None:
        return plan
    return plan.model_copy(update={"storage": storage_url(storage, Path.cwd(), "--storage")})


def _apply_override(document: Json, text: str, file: Path) -> str:
    """Set one `key.path=value` in the document and return the key path."""
    key_path, sign, value = text.partition("=")
    key_path = key_path.strip()
    if not sign or not all(key_path.split(".")):
        raise UsageError(f"--set {text}: the form is KEY.PATH=VALUE, e.g. --set device.threads=2")
    parents, _, last = key_path.rpartition(".")
    _section_at(document, parents, file, f"--set {key_path}")[last] = parse(value, f"--set {key_path}")
    return key_path


def _section_at(document: Json, key_path: str, file: Path, place: str, *, replaces_words: bool = False) -> Json:
    """Return the mapping at a key path of a document, and create it if it does not exist.

    The name of a space is replaced by the space's mapping, so that a single decision of it can be changed; any other word
    is refused, or replaced by an empty mapping.
    """
    section = document
    for key in filter(None, key_path.split(".")):
        value = section.get(key)
        if section is document and key == "space" and isinstance(value, (str, type(None))):
            value = read_space(value or DEFAULT_SPACE, file.absolute().parent, place)
        if isinstance(value, str) and replaces_words:
            value = None
        if not isinstance(value, (dict, type(None))):
            raise UsageError(f"{place}: {key} is {value!r}, which has no keys; set {key} itself")
        section[key] = value or {}
        section = section[key]
    return section
