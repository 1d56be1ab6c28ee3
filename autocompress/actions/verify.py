"""Is an exported folder what was exported, and does it answer here as it did when it was measured?

Reads hashes and runs the recorded inputs; needs the model's runtime and numpy only.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.core.errors import UsageError
from autocompress.core.stage import digest
from autocompress.runtimes import load_runtime_of, read_runtime_name
from autocompress.storage.checksums import manifest

SUMS = "SHA256SUMS"
MEASURED = "measurement.json"
BESIDE = (SUMS, MEASURED, "README.md")  # written when exporting; all else is the artifact
TOLERANCE = 1e-4  # of logits, on the machine that recorded them
UNCERTAIN = 1e-6  # two labels closer than this are a tie, which rounding decides


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found. `problems` are sentences; none of them: the folder passes."""

    folder: str
    problems: tuple[str, ...]
    files: int  # hashed
    same_machine: bool | None = None  # as the one that recorded the outputs; null where outputs were not compared
    inputs: int = 0  # recorded rows that were run
    largest_difference: float | None = None  # of logits
    labels_changed: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"passed": self.passed, **asdict(self), "problems": list(self.problems)}


def verify_folder(folder: Path) -> Verification:
    """Compare every file with its hash, then the recorded outputs with those that the model gives here.

    A changed, missing or extra file fails. Outputs must agree within 1e-4 on the machine that recorded them; on another
    (other CPU or runtime version) a difference is reported, and fails only where a label changes.
    UsageError where there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    problems = wrong_files(folder)
    files = len(manifest(folder)) - (folder / SUMS).is_file()
    if problems or not all((folder / name).is_file() for name in load_runtime_of(folder).MODEL_FILES):
        return Verification(folder=folder.name, problems=tuple(problems), files=files)
    return _compared(folder, files)


def sums_of(folder: Path) -> str:
    """The text of SHA256SUMS, as `sha256sum -c` reads it: every file but itself."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in manifest(folder).items() if name != SUMS)


def wrong_files(folder: Path) -> list[str]:
    """Sentences on files that are not as SHA256SUMS says; the text itself must be, byte for byte, what is written now."""
    path = folder / SUMS
    if not path.is_file():
        return [f"{SUMS} is missing: this is not an exported folder, or not all of it"]
    written, found = path.read_bytes(), sums_of(folder)
    if written != found.encode():
        return _differences(written, found) or [f"{SUMS} was changed"]
    return _wrong_artifact(folder)


def _differences(written: bytes, found: str) -> list[str]:
    there, said = _parsed(found), _parsed(written.decode(errors="replace"))
    changed = [f"{name} was changed" for name in there if name in said and there[name] != said[name]]
    missing = [f"{name} is missing" for name in said if name not in there]
    extra = [f"{name} was added" for name in there if name not in said]
    return [*changed, *missing, *extra]


def _parsed(text: str) -> dict[str, str]:
    """`{name: sha256}` of the lines that are of the form."""
    lines = [line.partition("  ") for line in text.split("\n") if line]
    return {name: sha256 for sha256, _, name in lines}


def _wrong_artifact(folder: Path) -> list[str]:
    """The files of the artifact against the sha256 that the measurement was taken of (other forms name none)."""
    measured = _measured(folder).get("artifact_sha256")
    own = {name: sha256 for name, sha256 in manifest(folder).items() if name not in BESIDE}
    return [] if measured in (None, digest(own)) else [f"the files are not those that {MEASURED} is about"]


def _measured(folder: Path) -> dict[str, Any]:
    path = folder / MEASURED
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


def _compared(folder: Path, files: int) -> Verification:
    """Run check.npz in a default session with 1 thread, as when it was recorded."""
    runtime = load_runtime_of(folder)
    if runtime.available() is None:
        raise UsageError(
            f"{folder}: the model runs in {read_runtime_name(folder)}, which is not installed; pip install it"
        )
    session = runtime.open_session(folder, threads=1)
    differences, changed, rows = [0.0], 0, 0
    with np.load(folder / "check.npz") as check:
        for name in sorted(entry for entry in check.files if entry.startswith("input_ids_")):
            ids, recorded = check[name], check[name.replace("input_ids", "logits")]
            ones = np.ones_like(ids)
            logits = session.run({"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0})
            differences.append(float(np.abs(logits - recorded).max()))
            changed += _changed_labels(logits, recorded)
            rows += len(ids)
    same, largest = _same_machine(folder), float(np.max(differences))  # NaN stays NaN
    return Verification(
        folder=folder.name,
        problems=tuple(_wrong_outputs(largest, changed, rows, same)),
        files=files,
        same_machine=same,
        inputs=rows,
        largest_difference=largest,
        labels_changed=changed,
    )


def _changed_labels(logits: np.ndarray, recorded: np.ndarray) -> int:
    """Rows whose label is another one; where the recorded best two are equal but for rounding, either is right."""
    best = recorded.max(axis=-1)
    chosen = np.take_along_axis(recorded, logits.argmax(-1)[:, None], axis=-1)[:, 0]
    return int(np.sum(best - chosen > UNCERTAIN))


def _wrong_outputs(largest: float, changed: int, rows: int, same: bool) -> list[str]:
    if not np.isfinite(largest):
        return ["the model's outputs are not finite here"]
    if changed:
        return [f"{changed} of {rows} recorded inputs get another label here (logits differ by up to {largest:.2g})"]
    if same and largest > TOLERANCE:
        return [f"logits differ by {largest:.2g}, which on the machine that recorded them must be under {TOLERANCE:g}"]
    return []


def _same_machine(folder: Path) -> bool:
    """Whether CPU, instruction sets and runtime version are those of the measurement."""
    from autocompress import benchmarking

    conditions = _measured(folder).get("measurement", {}).get("conditions", {})
    conditions |= conditions.get("outputs_recorded_on", {})  # where the measurement was taken on another device
    return all(conditions.get(key) == value for key, value in benchmarking.machine(read_runtime_name(folder)).items())
