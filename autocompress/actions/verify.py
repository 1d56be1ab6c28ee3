"""Verify an exported folder: its files are unchanged, and the model gives the recorded outputs on this machine.

Compares hashes and runs the recorded inputs; needs only the model's runtime and numpy.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json
from autocompress.core.stage import digest
from autocompress.runtimes import load_runtime_of, read_runtime_name
from autocompress.storage.checksums import manifest
from autocompress.tasks import DEFAULT_TASK, Task, load_task

SUMS_FILE = "SHA256SUMS"
MEASUREMENT_FILE = "measurement.json"
ADDED_FILES = (SUMS_FILE, MEASUREMENT_FILE, "README.md")  # written by an export; all other files are the artifact
TOLERANCE = 1e-4  # of outputs, on the machine that recorded them


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of verifying a folder; the folder passes if there are no problems."""

    folder: str
    problems: tuple[str, ...]  # sentences
    files: int  # hashed
    same_machine: bool | None = None  # as the one that recorded the outputs; null if outputs were not compared
    inputs: int = 0  # recorded rows that were run
    largest_difference: float | None = None  # of outputs
    labels_changed: int = 0

    @property
    def passed(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {"passed": self.passed, **asdict(self), "problems": list(self.problems)}


def verify_folder(folder: Path) -> Verification:
    """Compare every file with its hash, then the recorded outputs with the model's outputs on this machine.

    A changed, missing or extra file fails. Outputs must agree within 1e-4 on the machine that recorded them. With another
    CPU or runtime version a difference is reported, and fails only if a prediction changes.
    Raises UsageError if there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    problems = check_files(folder)
    files = len(manifest(folder)) - (folder / SUMS_FILE).is_file()
    if problems or not all((folder / name).is_file() for name in load_runtime_of(folder).model_files):
        return Verification(folder=folder.name, problems=tuple(problems), files=files)
    return _verify_outputs(folder, files)


def format_sums(folder: Path) -> str:
    """Return the text of SHA256SUMS as `sha256sum -c` reads it: every file but itself."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in manifest(folder).items() if name != SUMS_FILE)


def check_files(folder: Path) -> list[str]:
    """Return a sentence for each file that differs from SHA256SUMS.

    SHA256SUMS itself must be, byte for byte, the text that an export of these files writes.
    """
    path = folder / SUMS_FILE
    if not path.is_file():
        return [f"{SUMS_FILE} is missing: this is not an exported folder, or only a part of one"]
    recorded, expected = path.read_bytes(), format_sums(folder)
    if recorded != expected.encode():
        return _list_differences(recorded, expected) or [f"{SUMS_FILE} was changed"]
    return _check_artifact(folder)


def _list_differences(recorded: bytes, expected: str) -> list[str]:
    present, listed = _parse_sums(expected), _parse_sums(recorded.decode(errors="replace"))
    changed = [f"{name} was changed" for name in present if name in listed and present[name] != listed[name]]
    missing = [f"{name} is missing" for name in listed if name not in present]
    added = [f"{name} was added" for name in present if name not in listed]
    return [*changed, *missing, *added]


def _parse_sums(text: str) -> dict[str, str]:
    """Return `{name: sha256}` of the lines of SHA256SUMS."""
    lines = [line.partition("  ") for line in text.split("\n") if line]
    return {name: sha256 for sha256, _, name in lines}


def _check_artifact(folder: Path) -> list[str]:
    """Compare the artifact's files with the sha256 in the measurement; the transformers form names none."""
    measured = _read_measurement(folder).get("artifact_sha256")
    artifact = {name: sha256 for name, sha256 in manifest(folder).items() if name not in ADDED_FILES}
    if measured in (None, digest(artifact)):
        return []
    return [f"the model's files are not those that {MEASUREMENT_FILE} describes"]


def _read_measurement(folder: Path) -> Json:
    path = folder / MEASUREMENT_FILE
    values: Json = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


def _verify_outputs(folder: Path, files: int) -> Verification:
    """Run the inputs of check.npz in a default session with 1 thread, as they were recorded."""
    runtime = load_runtime_of(folder)
    if runtime.available() is None:
        raise UsageError(
            f"{folder}: the model runs in {read_runtime_name(folder)}, which is not installed; install it with pip"
        )
    session, task = runtime.open_session(folder, 1), read_task(folder)
    differences, changed, rows = [0.0], 0, 0
    with np.load(folder / "check.npz") as check:
        for name in sorted(entry for entry in check.files if entry.startswith("input_ids_")):
            ids, recorded = check[name], check[name.replace("input_ids", task.output)]
            ones = np.ones_like(ids)
            outputs = session.run({"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0})
            differences.append(float(np.abs(outputs - recorded).max()))
            changed += task.count_changes(outputs, recorded)
            rows += len(ids)
    same, largest = _is_same_machine(folder), float(np.max(differences))  # NaN stays NaN
    return Verification(
        folder=folder.name,
        problems=tuple(_check_outputs(largest, changed, rows, same)),
        files=files,
        same_machine=same,
        inputs=rows,
        largest_difference=largest,
        labels_changed=changed,
    )


def read_task(folder: Path) -> Task:
    """Return the task of an artifact, as its recipe.json names it."""
    path = folder / "recipe.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return load_task(str(facts.get("task", DEFAULT_TASK)), f"{folder}: recipe.json: task")


def _check_outputs(largest: float, changed: int, rows: int, same_machine: bool) -> list[str]:
    if not np.isfinite(largest):
        return ["the model's outputs are not finite on this machine"]
    if changed:
        return [
            f"{changed} of {rows} recorded inputs get another prediction here (outputs differ by up to {largest:.2g})"
        ]
    if same_machine and largest > TOLERANCE:
        return [f"outputs differ by {largest:.2g}; on the machine that recorded them at most {TOLERANCE:g} is allowed"]
    return []


def _is_same_machine(folder: Path) -> bool:
    """Return whether CPU, instruction sets and runtime version are those of the measurement."""
    from autocompress import benchmarking

    conditions = _read_measurement(folder).get("measurement", {}).get("conditions", {})
    conditions |= conditions.get("outputs_recorded_on", {})  # where the measurement was taken on another device
    return all(conditions.get(key) == value for key, value in benchmarking.machine(read_runtime_name(folder)).items())
