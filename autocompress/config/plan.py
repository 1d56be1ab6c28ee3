"""The resolved study: a study file in which every path is absolute and nothing is left open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field

from autocompress.config.sections import ArtifactSettings, AutoFineTune, Budget, Device
from autocompress.config.space_files import INITIAL
from autocompress.config.study_file import StudyFile
from autocompress.core.json_types import Json

# Keys that must not change when a study is resumed.
IDENTITY = ("teacher", "task", "device", "devices", "objectives", "space", "seed", "start")
CONNECTION_KEYS = ("url", "token_env", "ca", "patience")  # how a device is reached; they may change


class ArtifactFolder(ArtifactSettings):
    """The resolved folder of the artifacts."""

    path: Path


@dataclass(frozen=True)
class PlanSource:
    """Facts about the study file that its resolved values do not show."""

    file_name: str = "study file"
    recovery_keys: frozenset[str] = frozenset()  # keys of `recovery` that the file sets
    written_paths: Mapping[str, str] = field(default_factory=dict)  # key path -> path as written in the file
    has_packaged_space: bool = False  # whether `space` names a space of this package


class StudyPlan(StudyFile):
    """A study file after resolution, as `read_plan` returns it. Immutable and pickleable."""

    study: str = Field(pattern=r"^\w[\w .+-]*$")
    space: Json
    storage: str
    artifacts: ArtifactFolder
    source: PlanSource = Field(default=PlanSource(), exclude=True)

    @property
    def given_recovery(self) -> frozenset[str]:
        """The keys of `recovery` that the study file sets; they are never fitted to the budget."""
        return self.source.recovery_keys

    @property
    def others(self) -> dict[str, Device]:
        """The devices besides the main one, by name. Models of the front are measured on them, too."""
        return dict(list(self.devices.items())[1:])

    @property
    def search_budget(self) -> Budget:
        """The limits of a search. A study of one earlier candidate has none: its time only sets how long that is trained."""
        return self.budget if self.start is None else Budget()

    def place(self, key_path: str) -> str:
        """Return where a key stands, for messages: `sst2.yaml: task.data.train`."""
        return f"{self.source.file_name}: {key_path}"

    def as_stored(self, stored: Mapping[str, object] | None) -> StudyPlan:
        """Return the plan to resume a study with.

        A packaged space keeps the values it had when the study began; its initial recipes are those of today. A search for
        the settings of fine-tuning keeps its time and its linear probe, and a study without agreement rows gets none.
        """
        if stored is None:
            return self
        plan, space = self._with_stored_fine_tuning(stored)._with_stored_agreement_rows(stored), stored.get("space")
        if not self.source.has_packaged_space or not isinstance(space, dict):
            return plan
        initial = {INITIAL: self.space[INITIAL]} if INITIAL in self.space else {}
        return plan.model_copy(update={"space": {**space, **initial}})

    def with_fine_tuning(self, fine_tune: AutoFineTune) -> StudyPlan:
        """Return the plan with a search for the settings of fine-tuning."""
        return self.model_copy(update={"teacher": self.teacher.model_copy(update={"fine_tune": fine_tune})})

    def with_agreement_rows(self, most: int) -> StudyPlan:
        """Return the plan with at most so many agreement rows, unless it sets a number."""
        data = self.task.data
        if data.max_agreement_rows is not None:
            return self
        task = self.task.model_copy(update={"data": data.model_copy(update={"max_agreement_rows": most})})
        return self.model_copy(update={"task": task})

    def _with_stored_agreement_rows(self, stored: Mapping[str, object]) -> StudyPlan:
        task = stored.get("task")
        data = task.get("data") if isinstance(task, Mapping) else None
        known = data.get("max_agreement_rows") if isinstance(data, Mapping) else None
        return self.with_agreement_rows(known if isinstance(known, int) else 0)

    def _with_stored_fine_tuning(self, stored: Mapping[str, object]) -> StudyPlan:
        teacher, own = stored.get("teacher"), self.teacher.fine_tune
        known = teacher.get("fine_tune") if isinstance(teacher, Mapping) else None
        if not isinstance(known, Mapping) or not known.get("auto"):
            return self
        begun = AutoFineTune.model_validate(known)
        if own is not None and not isinstance(own, AutoFineTune):
            return self
        chosen = {"time": begun.time, "linear_probe_rows": begun.linear_probe_rows or 0}
        left_out = {name: value for name, value in chosen.items() if own is None or getattr(own, name) is None}
        return self.with_fine_tuning((own or begun).model_copy(update=left_out))

    def identity(self) -> Json:
        """Return the keys that must not change when a study is resumed, as plain JSON types.

        Paths are as written in the file (`${DATA}/train.parquet`, `./teacher`), so that a study can be resumed after it
        moved to another folder or machine. The contents behind the paths are not part of the plan: compare the
        fingerprints of data and teacher, too.
        """
        values = self.model_dump(mode="json", include=set(IDENTITY))
        del values["teacher"]["improve"]  # what comes after this study
        data = values["task"]["data"]
        data["max_agreement_rows"] = data["max_agreement_rows"] or None  # 0, as in a study of before they existed
        if isinstance(self.teacher.fine_tune, AutoFineTune):
            tuned = values["teacher"]["fine_tune"]
            tuned["linear_probe_rows"] = tuned["linear_probe_rows"] or None  # likewise
        values["space"].pop(INITIAL, None)  # tried first, and no limit of what may be tried
        for device in (values["device"], *values["devices"].values()):
            for key in CONNECTION_KEYS:
                del device[key]
        for key_path, text in self.source.written_paths.items():
            *parents, last = key_path.split(".")
            section = values
            for key in parents:
                section = section[key]
            section[last] = text
        plain: Json = json.loads(json.dumps(values))
        return plain

    def difference(self, stored: Mapping[str, object]) -> list[str]:
        """Return the key paths of `identity()` and `recovery` whose values are not as `stored`.

        `recovery` counts since it changes every result. A key that is absent from `stored` differs if the plan sets it; a
        key of `recovery` does not.
        """
        identity, stored_recovery = self.identity(), stored.get("recovery")
        changed = _changed_keys(identity, {key: stored.get(key) for key in identity})
        recovery = self.recovery.model_dump(mode="json")
        known = stored_recovery if isinstance(stored_recovery, Mapping) else {}
        return changed + [f"recovery.{key}" for key in recovery if key in known and recovery[key] != known[key]]


def _changed_keys(current: object, stored: object, key_path: str = "") -> list[str]:
    if isinstance(current, Mapping) and isinstance(stored, Mapping):
        changed = []
        for key in [*current, *(key for key in stored if key not in current)]:
            inner_path = f"{key_path}.{key}" if key_path else str(key)
            changed += _changed_keys(current.get(key), stored.get(key), inner_path)
        return changed
    return [] if current == stored or (_is_unset(current) and _is_unset(stored)) else [key_path]


def _is_unset(value: object) -> bool:
    return value is None or value in ("", {}, [])
