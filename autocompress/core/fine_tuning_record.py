"""How a teacher was fine-tuned, as trial 0 stores it: the settings, the search for them, the learning curve."""

from __future__ import annotations

from dataclasses import dataclass

from autocompress.core.formatting import counted, duration
from autocompress.core.json_types import Json


@dataclass(frozen=True, kw_only=True)
class FineTuningRecord:
    """The settings of a fine-tuning, and how they were chosen."""

    settings: Json  # epochs, learning_rate, batch, …: as in a study file
    curve: tuple[Json, ...]  # of the teacher: rows learned, quality and loss on rows of validation
    curve_rows: int  # rows of validation that it was measured on
    learned: int  # rows that all trainings learned, repeated ones included
    seconds: float
    trials: tuple[Json, ...] = ()  # settings that were tried: setting, curve, failure; none where settings were given
    judged_rows: int = 0  # rows cut from train that they were judged on

    @classmethod
    def from_facts(cls, facts: Json) -> FineTuningRecord | None:
        """Read the facts of trial 0; null where the teacher was not fine-tuned, or by an older version."""
        values = facts.get("fine_tuning")
        return (
            None
            if values is None
            else cls(**{**values, "curve": tuple(values["curve"]), "trials": tuple(values["trials"])})
        )

    @property
    def seconds_per_row(self) -> float:
        """The seconds in which one row was learned, evaluation included."""
        return self.seconds / max(1, self.learned)

    def describe(self) -> str:
        """Describe settings, choice and learning curve in one sentence."""
        probed = self.settings.get("linear_probe_rows")
        probe = f" after a linear probe of {probed:,} rows" if probed else ""
        failed = sum(trial["failure"] is not None for trial in self.trials)
        tried = counted(len(self.trials), "setting") + (f" ({failed} failed)" if failed else "")
        chosen = f", the best of {tried} on {self.judged_rows:,} rows of train" if self.trials else ""
        qualities = " → ".join(f"{100 * point['quality']:.1f}" for point in self.curve)
        curve = (
            f"; quality on {counted(self.curve_rows, 'validation row')} meanwhile: {qualities}" if self.curve else ""
        )
        return (
            f"the teacher was fine-tuned for {self.settings['epochs']:.1f} epochs, {describe_setting(self.settings)}{chosen}"
            f"{probe}, in {duration(self.seconds)}{curve}"
        )


def describe_setting(setting: Json) -> str:
    """Describe learning rate, batch and warm-up in one short line."""
    rate = f"{setting['learning_rate']:.2g}".replace("e-0", "e-")
    warmup = setting.get("warmup")
    return f"rate {rate}, batch {setting['batch']}" + ("" if warmup is None else f", warm-up {warmup:.0%}")
