"""Fine-tune the teacher with settings that a short search chooses on rows cut from train.

What a kill must not lose stands in a folder of its own: the trials of the search, and the state of the running training. A
search that goes on there ends as one that was not interrupted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial

import torch

from autocompress.config import AutoFineTune, FineTune, StudyPlan
from autocompress.core.errors import AutocompressError
from autocompress.core.fine_tuning_record import describe_setting
from autocompress.core.json_types import Json
from autocompress.models.model_types import Model
from autocompress.search.fine_tuning_length import (
    USED_TIME,
    SearchSize,
    effective_labels,
    first_setting,
    probe_size,
    search_size,
    usual_length,
)
from autocompress.search.fine_tuning_rows import FineTuningRows, count_labels
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_evaluation import JudgedRows
from autocompress.search.work_folder import WorkFolder
from autocompress.training.fine_tuning import LabelledRows, fine_tune, seconds_per_row
from autocompress.training.linear_probe import Weights, fit_linear_probe, set_output_layer
from autocompress.training.loop import Progress
from autocompress.training.settings_search import (
    FRACTIONS,
    CurvePoint,
    SearchLimits,
    Setting,
    SettingTrial,
    leading_trial,
    search_settings,
    whole_length,
)

LINEAR_PROBE = "a linear probe"  # as progress is reported
LEAST_LENGTH = 0.5  # of the usual one, whatever the time
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoFineTuning:
    """The search for the settings of one teacher, and its fine-tuning with the best."""

    plan: StudyPlan
    settings: AutoFineTune
    data: StudyData
    load_pretrained: Callable[[], Model]  # the model with its new head
    work: WorkFolder  # of what an interrupted search needs
    report_progress: Callable[[str, float], None]  # description, fraction done
    pause: Callable[[Progress], Progress]  # lets measurements pass
    shown: JudgedRows  # on which the learning curve of the teacher is measured

    def run(self) -> tuple[Model, Json]:
        """Return the fine-tuned model, and the record of its fine-tuning as plain JSON types."""
        self.work.save_seconds()  # starts the clock
        trials = [SettingTrial.from_json(values) for values in (self.work.read("trials") or {}).get("trials", [])]
        killed = self.work.killed_step()
        if killed is not None:
            _fail(trials[killed], "the process was killed (out of memory?)", is_too_large=True)
        while True:
            search_settings(
                trials, self._first, self._size.limits, partial(self._try, trials), partial(self._is_late, trials)
            )
            chosen = self._choose(trials)
            model = self._load_model()
            settings = self._whole_settings(trials[chosen])
            curve = self._train(trials, chosen, model, self._rows.all, settings, self.shown, "the chosen setting")
            if trials[chosen].failure is None:
                break
        return model, {
            "settings": settings.model_dump(exclude_none=True),
            "curve": [asdict(point) for point in curve],
            "curve_rows": len(self.shown),
            "learned": round(settings.epochs * len(self._rows.all)) + sum(map(_learned_rows, trials)),
            "seconds": self.work.seconds,
            "trials": [trial.as_json() for trial in trials if trial.curve or trial.failure],
            "judged_rows": len(self._rows.judged),
        }

    # ---- the search ------------------------------------------------------------------------------------------------

    def _try(self, trials: list[SettingTrial], number: int) -> None:
        """Train one setting for the next fraction of the length, and judge it."""
        trial = trials[number]
        fraction = FRACTIONS[len(trial.curve)]
        rows, model = self._rows.learned, self._load_model()
        settings = FineTune(
            epochs=self._size.length * fraction / len(rows), learning_rate=trial.setting.rate_at(fraction),
            batch=trial.setting.batch, warmup=trial.setting.warmup,
        )  # fmt: skip
        self._train(trials, number, model, rows, settings, None, f"setting {number + 1}, {fraction:.0%} of the length")
        if trial.failure is None:
            quality, loss = self._rows.judged.judge(model)
            trial.curve.append(CurvePoint(rows=round(settings.epochs * len(rows)), quality=quality, loss=loss))
            self._save(trials)

    def _choose(self, trials: list[SettingTrial]) -> int:
        """Return the number of the best trial; without time for any, that of the setting to try first."""
        if not trials:
            trials.append(SettingTrial(self._first))
        leading = leading_trial(trials)
        untried = [number for number, trial in enumerate(trials) if trial.failure is None]
        if leading is None and not untried:
            raise AutocompressError(
                f"{self.plan.place('teacher.fine_tune')}: no setting could be trained ({trials[-1].failure}); give the settings"
                " yourself, e.g. {epochs: 3, learning_rate: 2.0e-5, batch: 1}"
            )
        return untried[-1] if leading is None else leading

    def _whole_settings(self, trial: SettingTrial) -> FineTune:
        """Return the settings of the whole fine-tuning, which a later interruption does not change."""
        known = self.work.read("whole")
        if known is not None and known["setting"] == asdict(trial.setting):
            return FineTune.model_validate(known["settings"])
        length = self._size.length * whole_length(trial, len(self._rows.judged))
        if self.settings.time is not None:
            left = max(0.0, self.settings.time - self.work.seconds)
            length = min(length, left / (self._row_seconds * trial.setting.cost))
        length = max(length, LEAST_LENGTH * self._size.length)
        settings = FineTune(
            epochs=float(f"{length / len(self._rows.all):.2g}"), learning_rate=trial.setting.learning_rate,
            batch=trial.setting.batch, warmup=trial.setting.warmup,
            linear_probe_rows=self._size.probed_rows if self._probe else None,
        )  # fmt: skip
        self.work.write("whole", {"setting": asdict(trial.setting), "settings": settings.model_dump()})
        return settings

    def _train(
        self,
        trials: list[SettingTrial],
        number: int,
        model: Model,
        rows: LabelledRows,
        settings: FineTune,
        shown: JudgedRows | None,
        name: str,
    ) -> list[CurvePoint]:
        """Train a model; an error that is due to its setting fails the trial, not the study. Return the learning curve."""
        trial, saved = trials[number], self.work.file(f"training-{number}.pt")
        self._save(trials)
        self.work.begin_step(number, saved)
        description = f"{name} ({describe_setting(settings.model_dump())}){self._describe_best(trials)}"
        progress = self.pause(lambda done: self.report_progress(description, done))
        curve: list[CurvePoint] = []
        try:
            curve = fine_tune(
                model, rows, settings, self.plan.seed, progress, objective=self.data.objective,
                evaluate=None if shown is None else shown.judge, saved=saved,
            )  # fmt: skip
        except (MemoryError, RuntimeError, FloatingPointError) as error:
            is_too_large = _is_out_of_memory(error)
            if not is_too_large and not isinstance(error, FloatingPointError):
                raise
            _fail(trial, str(error).splitlines()[0], is_too_large)
        self.work.end_step()
        self._save(trials)
        return curve

    def _describe_best(self, trials: list[SettingTrial]) -> str:
        best = leading_trial(trials)
        if best is None:
            return ""
        return f"; best so far {100 * trials[best].curve[-1].quality:.1f} on {len(self._rows.judged):,} rows of train"

    # ---- how much is trained ---------------------------------------------------------------------------------------

    @cached_property
    def _first(self) -> Setting:
        return first_setting(
            effective_labels(count_labels(self.data.splits)), int(self.load_pretrained().config.hidden_size)
        )

    @cached_property
    def _size(self) -> SearchSize:
        """How much the search may train: as it was planned when the search began."""
        known = self.work.read("size")
        if known is not None:
            return SearchSize(**{**known, "limits": SearchLimits(**known["limits"])})
        counts, seconds = count_labels(self.data.splits), self.settings.time
        usual = usual_length(len(self._rows.all), effective_labels(counts))
        affordable = None if seconds is None else USED_TIME * seconds / self._row_seconds
        most = min(self.settings.linear_probe_rows or 0, len(self._rows.learned))
        size = search_size(usual, affordable, probe_size(most, len(counts), affordable))
        self.work.write("size", asdict(size))
        return size

    def _load_model(self) -> Model:
        """Return the pretrained model, with a new head that a linear probe has fitted where the settings ask for one."""
        model = self.load_pretrained()
        set_output_layer(model, self._probe)
        return model

    @cached_property
    def _probe(self) -> Weights:
        """The output layer of the linear probe; empty where the settings ask for none or where it is left out."""
        count, file = self._size.probed_rows, self.work.file("linear_probe.pt")
        if not count:
            return {}
        if not file.is_file():
            progress = self.pause(lambda done: self.report_progress(LINEAR_PROBE, done))
            weights = fit_linear_probe(self.load_pretrained(), self._rows.probed(count), progress)
            torch.save(weights, file.with_suffix(".new"))
            os.replace(file.with_suffix(".new"), file)
        known: Weights = torch.load(file, weights_only=True)
        return known

    @cached_property
    def _row_seconds(self) -> float:
        """The seconds in which a row is learned at the usual batch, as timed when the search began."""
        known = self.work.read("price") or {}
        if "seconds_per_row" not in known:
            self.report_progress("timing a few steps", 0.0)
            batch = known["batch"] // 2 if known else self._first.batch  # a kill meanwhile: it needed too much memory
            known = self._time_steps(max(1, batch))
        return float(known["seconds_per_row"])

    def _time_steps(self, batch: int) -> Json:
        """Time some steps; with a smaller batch where the memory does not suffice."""
        self.work.write("price", {"batch": batch})
        setting = replace(self._first, batch=batch)
        settings = FineTune(learning_rate=setting.learning_rate, batch=batch)
        try:
            seconds = seconds_per_row(
                self.load_pretrained(), self._rows.learned, settings, self.data.objective, self.plan.seed
            )
        except (MemoryError, RuntimeError) as error:
            if batch == 1 or not _is_out_of_memory(error):
                raise
            return self._time_steps(batch // 2)
        price = {"batch": batch, "seconds_per_row": seconds / setting.cost}
        self.work.write("price", price)
        return price

    def _is_late(self, trials: list[SettingTrial]) -> bool:
        """Whether only the time for the whole fine-tuning is left."""
        if self.settings.time is None or (trials and all(trial.failure is not None for trial in trials)):
            return False
        return self.work.seconds + self._size.length * self._row_seconds > self.settings.time

    @cached_property
    def _rows(self) -> FineTuningRows:
        return FineTuningRows(self.data, self.plan.task.metric, self.plan.seed)

    def _save(self, trials: list[SettingTrial]) -> None:
        self.work.write("trials", {"trials": [trial.as_json() for trial in trials]})
        self.work.save_seconds()


def _learned_rows(trial: SettingTrial) -> int:
    return sum(point.rows for point in trial.curve)


def _fail(trial: SettingTrial, reason: str, is_too_large: bool) -> None:
    trial.failure, trial.is_too_large = reason, is_too_large
    log.warning("fine-tuning: %s failed: %s", describe_setting(asdict(trial.setting)), reason)


def _is_out_of_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and ("not enough memory" in str(error) or "alloc" in str(error)))
