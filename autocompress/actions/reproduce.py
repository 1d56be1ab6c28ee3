"""Do a trial again, from the teacher on and in an empty folder, with the seed, the data and the amounts of training of then;
and say what came out otherwise."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress import benchmarking
from autocompress.actions.locate import StudyLocation
from autocompress.config import LAST_RUNG, StudyPlan
from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.measurement import Measurement, Quality
from autocompress.core.trial_row import TrialRow
from autocompress.search.display import Display
from autocompress.search.jobs import Job, JobResult, RunSettings
from autocompress.search.worker_pool import WorkerPool, catching_signals, open_worker_pool
from autocompress.selection import Check, ratio_interval
from autocompress.study import StudyView
from autocompress.study.trial_details import TrialDetails, read_trial_details


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """How a trial came out when it was done again."""

    study: str
    row: TrialRow
    checks: tuple[Check, ...]
    changed: tuple[str, ...]  # what is not as it was then, and may be the reason of differences
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether nothing is surely another."""
        return all(check.agrees for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "study": self.study, "trial": self.row.trial, "reproduced": self.succeeded, "seconds": self.seconds,
            "checks": [asdict(check) for check in self.checks], "changed": list(self.changed),
        }  # fmt: skip


def reproduce(located: StudyLocation, trial: int, display: Display, offline: bool = False) -> Reproduction:
    """Do it again and compare; nothing of it is kept, and the study is not touched.

    UsageError for a trial that is not complete, or where the data are not the rows of then.
    """
    view = located.view()
    row = view.row(trial)
    if row.state != "complete":
        raise UsageError(f"trial {trial} is {row.state}; choose a complete one")
    before, teacher = (read_trial_details(located.url, located.name, number) for number in (trial, 0))
    with tempfile.TemporaryDirectory(prefix="autocompress-") as folder:
        plan = _plan(located, view, Path(folder))
        with open_worker_pool(plan, display, offline) as pool, catching_signals(pool.interrupt):
            done = _Again(pool, plan, row)
            measured = done.run()
        if measured.data != teacher.outcome.facts.get("data"):
            raise UsageError(
                f"{plan.place('task.data')}: the rows are not those that the study {view.name!r} was made with"
            )
    return Reproduction(
        study=view.name,
        row=row,
        checks=tuple(_checks(before, teacher, measured)),
        changed=tuple(_changed(before, teacher)),
        seconds=measured.seconds,
    )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What came out this time."""

    teacher_sha256: str | None
    sha256: str | None
    measurement: Measurement
    test: Quality | None
    data: str | None
    seconds: float


@dataclass
class _Again:
    """The jobs of a search that lead to one trial."""

    pool: WorkerPool
    plan: StudyPlan
    row: TrialRow

    def run(self) -> _Measured:
        """Teacher, what is shared, the trial, its test."""
        first = self._do(Job("teacher", 0), "the teacher")
        assert first.outcome is not None and first.outcome.measurement is not None
        outcome, runtime = first.outcome, self.plan.device.runtime
        self.pool.apply_settings(RunSettings({runtime: outcome.sha256 or ""}, self.plan.recovery))
        seconds, words = outcome.seconds, self.row.describe()
        if self.row.trial != 0:
            self._do(Job("shared", 0), "what all trials share")
            rung = LAST_RUNG if self.row.rung is None else self.row.rung
            done = self._do(Job("trial", self.row.trial, self.row.recipe, rung), words)
            assert done.outcome is not None
            seconds += done.outcome.seconds
            data, teacher, outcome = outcome.facts.get("data"), outcome.sha256, done.outcome
        else:
            data, teacher = outcome.facts.get("data"), outcome.sha256
        if outcome.measurement is None:
            raise AutocompressError(f"trial {self.row.trial} {outcome.state} this time: {outcome.reason}")
        test = self._do(Job("test", self.row.trial, self.row.recipe, artifacts={runtime: outcome.sha256 or ""}), words)
        return _Measured(
            teacher_sha256=teacher, sha256=outcome.sha256, measurement=outcome.measurement, test=test.quality, data=data,
            seconds=seconds,
        )  # fmt: skip

    def _do(self, job: Job, words: str) -> JobResult:
        done = self.pool.run_alone(job, words)
        if done is None:
            raise KeyboardInterrupt
        if done.error is not None:
            raise (UsageError if done.is_usage_error else AutocompressError)(done.error)
        return done


def _plan(located: StudyLocation, view: StudyView, folder: Path) -> StudyPlan:
    """The study's plan on its first device, with the amounts of training that were fitted then, in another folder."""
    plan = located.plan("reproduce")
    changes: dict[str, Any] = {"artifacts": plan.artifacts.model_copy(update={"path": folder / "study" / "artifacts"})}
    if view.recovery is not None:
        changes["recovery"] = type(plan.recovery).model_validate(view.recovery)
    return plan.model_copy(update={**changes, "devices": {}})


def _checks(before: TrialDetails, teacher: TrialDetails, now: _Measured) -> Iterator[Check]:
    then = before.outcome.measurement
    assert then is not None  # it is complete
    yield _same("the teacher's model", _short(teacher.outcome.sha256), _short(now.teacher_sha256))
    yield _same("the model", _short(before.outcome.sha256), _short(now.sha256))
    for old, new in ((then.quality, now.measurement.quality), (before.test, now.test)):
        if old is None or new is None:
            continue
        yield _same(f"predictions on {new.split}", _short(old.predictions_sha256), _short(new.predictions_sha256))
        low, high = old.drop_interval.low, old.drop_interval.high
        yield Check(
            what=f"drop on {new.split}, points", before=f"{100 * old.drop:.2f} ({100 * low:.2f}…{100 * high:.2f})",
            now=f"{100 * new.drop:.2f}", agrees=low <= new.drop <= high,
        )  # fmt: skip
    yield _same("size, MB", f"{then.size_mb:.3f}", f"{now.measurement.size_mb:.3f}")
    old_speed, new_speed = then.latency, now.measurement.latency
    ends = [(seen.speedup_interval.low, seen.speedup_interval.high) for seen in (old_speed, new_speed)]
    low, high = ratio_interval(old_speed.speedup, ends[0], new_speed.speedup, ends[1])
    shown = [
        f"{seen.speedup:.2f}× ({low:.2f}…{high:.2f})"
        for seen, (low, high) in zip((old_speed, new_speed), ends, strict=True)
    ]
    yield Check(what="speed-up", before=shown[0], now=shown[1], agrees=low <= 1 <= high)


def _changed(before: TrialDetails, teacher: TrialDetails) -> Iterator[str]:
    """What is not as it was then."""
    then = before.outcome.measurement
    assert then is not None  # it is complete
    known = dict(teacher.outcome.facts.get("versions", {}))
    for name, version in benchmarking.versions().items():
        if name in known and known[name] != version:
            yield f"{name} {known[name]} is now {version}"
    for name, value in benchmarking.machine(str(then.conditions["runtime"])).items():
        if name in then.conditions and then.conditions[name] != value:
            yield f"{name.replace('_', ' ')} was {_words(then.conditions[name])}, is {_words(value)}"


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _short(sha256: str | None) -> str:
    return (sha256 or "none")[:16]


def _same(what: str, before: str, now: str) -> Check:
    return Check(what=what, before=before, now=now, agrees=before == now)
