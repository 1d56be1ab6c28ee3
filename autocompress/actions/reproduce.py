"""Reproduce a trial: run it again, starting with the teacher, and report what differs.

The run uses an empty folder and the seed, data and training settings of the first run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from autocompress import benchmarking
from autocompress.actions.locate import StudyLocation
from autocompress.config import LAST_RUNG, AutoFineTune, FineTune, StudyPlan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.json_types import Json
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.trial_row import Outcome, TrialRow
from autocompress.search.display import Display
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.search.worker_pool import WorkerPool, catching_signals, open_worker_pool
from autocompress.selection import Check, ratio_interval
from autocompress.study import StudyView
from autocompress.study.trial_details import TrialDetails, read_trial_details


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """The result of running a trial again."""

    study: str
    row: TrialRow
    checks: tuple[Check, ...]
    changed: tuple[str, ...]  # versions and hardware that are not as in the first run, and may explain differences
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether every check agrees."""
        return all(check.agrees for check in self.checks)

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {
            "study": self.study, "trial": self.row.trial, "reproduced": self.succeeded, "seconds": self.seconds,
            "checks": [asdict(check) for check in self.checks], "changed": list(self.changed),
        }  # fmt: skip


def reproduce_trial(located: StudyLocation, trial: int, display: Display, offline: bool = False) -> Reproduction:
    """Run a trial again and compare it with the first run; the study stays unchanged, and the new models are deleted.

    Raises UsageError for a trial that is not complete, and where the data are not the rows of the first run.
    """
    view = located.view()
    row = view.row(trial)
    if row.state != "complete":
        raise UsageError(f"trial {trial} is {row.state}; choose a complete trial")
    first_run, teacher = (read_trial_details(located.url, located.name, number) for number in (trial, 0))
    with tempfile.TemporaryDirectory(prefix="autocompress-") as folder:
        plan = _plan_in(Path(folder), located, view)
        with open_worker_pool(plan, display, offline) as pool, catching_signals(pool.interrupt):
            second_run = _SecondRun(pool, plan, row).run()
        if second_run.data != teacher.outcome.facts.get("data"):
            raise UsageError(
                f"{plan.place('task.data')}: the rows differ from those of study {view.name!r}; restore the data"
            )
    return Reproduction(
        study=view.name,
        row=row,
        checks=tuple(_compare(first_run, teacher, second_run)),
        changed=tuple(_changed_conditions(first_run, teacher)),
        seconds=second_run.seconds,
    )


@dataclass(frozen=True, kw_only=True)
class _RunResult:
    """The results of the second run."""

    teacher_sha256: str | None
    sha256: str | None
    measurement: Measurement
    test: Quality | None
    data: str | None  # fingerprint of the rows
    seconds: float


@dataclass
class _SecondRun:
    """Runs the jobs of a search that lead to one trial."""

    pool: WorkerPool
    plan: StudyPlan
    row: TrialRow

    def run(self) -> _RunResult:
        """Run the teacher, the shared stages, the trial and its test."""
        teacher = self._outcome(Job("teacher", 0), "the teacher")
        assert teacher.measurement is not None
        runtime = self.plan.device.runtime
        self.pool.settings = RunSettings({runtime: teacher.sha256 or ""}, self.plan.recovery)
        description = self.row.describe()
        outcome = teacher if self.row.trial == 0 else self._run_candidate(description)
        if outcome.measurement is None:
            raise AutocompressError(f"trial {self.row.trial}: the second run {outcome.state}: {outcome.reason}")
        artifacts = {runtime: outcome.sha256 or ""}
        test = self._do(Job("test", self.row.trial, self.row.recipe, artifacts=artifacts), description)
        return _RunResult(
            teacher_sha256=teacher.sha256,
            sha256=outcome.sha256,
            measurement=outcome.measurement,
            test=test.quality,
            data=teacher.facts.get("data"),
            seconds=teacher.seconds + (outcome.seconds if outcome is not teacher else 0.0),
        )

    def _run_candidate(self, description: str) -> Outcome:
        self._do(Job("shared", 0), "the stages that all trials share")
        rung = LAST_RUNG if self.row.rung is None else self.row.rung
        return self._outcome(Job("trial", self.row.trial, self.row.recipe, rung), description)

    def _outcome(self, job: Job, description: str) -> Outcome:
        outcome = self._do(job, description).outcome
        assert outcome is not None  # teachers and trials have one
        return outcome

    def _do(self, job: Job, description: str) -> JobResult:
        result = self.pool.run_alone(job, description)
        if result is None:
            raise KeyboardInterrupt
        if result.error is not None:
            raise (UsageError if result.is_usage_error else AutocompressError)(result.error)
        return result


def _plan_in(folder: Path, located: StudyLocation, view: StudyView) -> StudyPlan:
    """Return the study's plan on its first device, with its fitted training settings and another artifact folder.

    The settings of fine-tuning that a search found are given: what a search finds depends on the time that it has.
    """
    plan = located.plan("reproduce")
    changes: Json = {"artifacts": plan.artifacts.model_copy(update={"path": folder / "study" / "artifacts"})}
    if view.recovery is not None:
        changes["recovery"] = type(plan.recovery).model_validate(view.recovery)
    found = plan.teacher.fine_tune
    if view.fine_tuning is not None and isinstance(found, AutoFineTune) and not found.silver_pairs:
        given = FineTune.model_validate(view.fine_tuning.settings)
        changes["teacher"] = plan.teacher.model_copy(update={"fine_tune": given})
    return plan.model_copy(update={**changes, "devices": {}})


def _compare(first_run: TrialDetails, teacher: TrialDetails, second_run: _RunResult) -> Iterator[Check]:
    """Yield a check for each result: hashes must be equal, measured values must lie within the first interval."""
    before, now = first_run.outcome.measurement, second_run.measurement
    assert before is not None  # the trial is complete
    yield _check_equal("the teacher's model", _short(teacher.outcome.sha256), _short(second_run.teacher_sha256))
    yield _check_equal("the model", _short(first_run.outcome.sha256), _short(second_run.sha256))
    for old, new in ((before.quality, now.quality), (first_run.test, second_run.test)):
        if old is not None and new is not None:
            predictions = _short(old.predictions_sha256), _short(new.predictions_sha256)
            yield _check_equal(f"predictions on {new.split}", *predictions)
            yield _check_drop(old, new)
    yield _check_equal("size, MB", f"{before.size_mb:.3f}", f"{now.size_mb:.3f}")
    yield _check_speedup(before, now)


def _check_drop(old: Quality, new: Quality) -> Check:
    low, high = old.drop_interval.low, old.drop_interval.high
    return Check(
        what=f"drop on {new.split}, points",
        before=f"{100 * old.drop:.2f} ({100 * low:.2f}…{100 * high:.2f})",
        now=f"{100 * new.drop:.2f}",
        agrees=low <= new.drop <= high,
    )


def _check_speedup(before: Measurement, now: Measurement) -> Check:
    """Compare two speed-ups: they agree if the interval of their ratio holds 1."""
    latencies = (before.latency, now.latency)
    ends = [(latency.speedup_interval.low, latency.speedup_interval.high) for latency in latencies]
    low, high = ratio_interval(before.latency.speedup, ends[0], now.latency.speedup, ends[1])
    texts = [
        f"{latency.speedup:.2f}× ({start:.2f}…{end:.2f})" for latency, (start, end) in zip(latencies, ends, strict=True)
    ]
    return Check(what="speed-up", before=texts[0], now=texts[1], agrees=low <= 1 <= high)


def _changed_conditions(first_run: TrialDetails, teacher: TrialDetails) -> Iterator[str]:
    """Yield the package versions and hardware properties that changed since the first run."""
    measurement = first_run.outcome.measurement
    assert measurement is not None  # the trial is complete
    conditions, versions = measurement.conditions, dict(teacher.outcome.facts.get("versions", {}))
    for name, version in benchmarking.versions().items():
        if name in versions and versions[name] != version:
            yield f"{name} {versions[name]} is now {version}"
    for name, value in benchmarking.machine(str(conditions["runtime"])).items():
        if name in conditions and conditions[name] != value:
            yield f"{name.replace('_', ' ')} was {_join(conditions[name])}, is now {_join(value)}"


def _join(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _short(sha256: str | None) -> str:
    return (sha256 or "none")[:16]


def _check_equal(what: str, before: str, now: str) -> Check:
    return Check(what=what, before=before, now=now, agrees=before == now)
