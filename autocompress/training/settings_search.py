"""Choose the settings of a fine-tuning by asynchronous successive halving (Li et al. 2020, "A system for massively parallel
hyperparameter tuning").

Each setting is first trained for a quarter of the length, with its rate rising and falling to zero as in a whole fine-tuning,
and judged on rows that it does not learn. The better half is trained for half of the length. The best setting is then used for
the whole length, on all rows, by whoever asked. This module decides what is trained next. It trains nothing, so that it is
exact and fast to test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import sqrt

from autocompress.core.json_types import Json

FRACTIONS = (0.25, 0.5)  # of the whole length, after which settings are judged
KEPT = 2  # one of so many settings goes on
RATE_EXPONENT = 0.32  # the best rate is proportional to length ** -0.32 (Bjorck et al. 2024, "Scaling optimal LR …")
LOSS_WEIGHT = 0.1  # of the loss beside the quality: with a few hundred rows many settings have about the same quality
STEEP, LONGER, SHORTER = (
    0.02,
    1.5,
    0.5,
)  # a gain of quality by twice the length, and what then becomes of the whole length
RATES, BATCHES, WARMUPS = (1e-6, 2e-3), (8, 64), (0.02, 0.5)  # lowest and highest that are tried
USUAL_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The settings of a fine-tuning, without its length."""

    learning_rate: float  # for the whole length
    batch: int
    warmup: float  # the fraction of the steps in which the rate rises

    def rate_at(self, fraction: float) -> float:
        """Return the rate for a fraction of the whole length: shorter trainings need a higher one."""
        return self.learning_rate / float(fraction**RATE_EXPONENT)

    @property
    def cost(self) -> float:
        """The time of a row, of that with a batch of 32: half of a step's time does not depend on its rows."""
        return 0.5 + 0.5 * USUAL_BATCH / self.batch


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A model after so many rows."""

    rows: int  # that were learned, repeated ones included
    quality: float  # on rows that are not learned; higher is better
    loss: float

    @property
    def value(self) -> float:
        """What settings are compared by."""
        return self.quality - LOSS_WEIGHT * self.loss


@dataclass
class SettingTrial:
    """A setting, and how it was judged at each of `FRACTIONS` that it was trained to."""

    setting: Setting
    curve: list[CurvePoint] = field(default_factory=list)
    failure: str | None = None  # why it cannot be trained
    is_too_large: bool = False  # it failed for lack of memory

    @property
    def gain(self) -> float:
        """The quality that twice the length brought; 0 where it was trained once."""
        return self.curve[-1].quality - self.curve[-2].quality if len(self.curve) > 1 else 0.0

    def as_json(self) -> Json:
        """Return plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Json) -> SettingTrial:
        """Read what `as_json` returned."""
        curve = [CurvePoint(**point) for point in values["curve"]]
        return cls(**{**values, "setting": Setting(**values["setting"]), "curve": curve})


@dataclass(frozen=True, kw_only=True)
class SearchLimits:
    """How much may be trained."""

    settings: int  # that are tried, at most
    lengths: float | None = None  # whole lengths that may be trained before the last one; null: no limit


def next_training(trials: Sequence[SettingTrial], first: Setting, limits: SearchLimits) -> int | Setting | None:
    """Return what comes next: the number of a trial to train further, a new setting, or null at the end."""
    left = _lengths_left(trials, limits)
    for number in _waiting(trials):
        if _cost_of_next(trials[number]) <= left:
            return number
    setting = _new_setting(trials, first)
    if setting is None or (trials and leading_trial(trials) is None):
        return setting  # one must be possible
    return setting if len(trials) < limits.settings and FRACTIONS[0] * setting.cost <= left else None


def leading_trial(trials: Sequence[SettingTrial]) -> int | None:
    """Return the number of the best trial: of those that were trained furthest, the one with the best value there."""
    alive = [number for number, trial in enumerate(trials) if trial.failure is None and trial.curve]
    if not alive:
        return None
    furthest = max(len(trials[number].curve) for number in alive)
    leading = [number for number in alive if len(trials[number].curve) == furthest]
    return max(leading, key=lambda number: (trials[number].curve[-1].value, -number))


def search_settings(
    trials: list[SettingTrial],
    first: Setting,
    limits: SearchLimits,
    train: Callable[[int], None],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Train settings until none comes next, or time `is_over`.

    `train(number)` trains `trials[number]` for the next of `FRACTIONS`, and adds a point to its curve or sets `failure`.
    `trials` holds what an earlier, interrupted search did, and is changed in place.
    """
    while not is_over() and (job := next_training(trials, first, limits)) is not None:
        if isinstance(job, Setting):
            trials.append(SettingTrial(job))
            job = len(trials) - 1
        train(job)


def whole_length(trial: SettingTrial | None, judged: int) -> float:
    """Return by what to multiply the usual length, given the chosen trial and the rows that it was judged on.

    Longer where the quality still rose steeply from a quarter to half of it, shorter where it fell by more than its standard
    error.
    """
    if trial is None or len(trial.curve) < len(FRACTIONS):
        return 1.0
    quality = min(max(trial.curve[-1].quality, 0.0), 1.0)
    if trial.gain > STEEP:
        return LONGER
    return SHORTER if trial.gain < -sqrt(quality * (1 - quality) / judged) else 1.0


def _waiting(trials: Sequence[SettingTrial]) -> list[int]:
    """Return the trials to train further, in this order: interrupted ones, then the better half at a fraction."""
    alive = [number for number, trial in enumerate(trials) if trial.failure is None]
    waiting = [number for number in alive if not trials[number].curve]
    for rung in range(1, len(FRACTIONS)):
        values = {number: trials[number].curve[rung - 1].value for number in alive if len(trials[number].curve) >= rung}
        best = sorted(values, key=lambda number: -values[number])[: len(values) // KEPT]
        waiting += [number for number in best if len(trials[number].curve) == rung]
    return waiting


def _new_setting(trials: Sequence[SettingTrial], first: Setting) -> Setting | None:
    """Return a setting that was not tried yet: the first one, then the neighbours of the best."""
    tried = {trial.setting for trial in trials}
    too_large = min((trial.setting.batch for trial in trials if trial.is_too_large), default=BATCHES[1] + 1)
    if first not in tried:
        return first
    alive = [trial for trial in trials if trial.failure is None and trial.curve]
    if not alive:  # the memory may be too small: smaller batches need less
        last = trials[-1].setting
        return replace(last, batch=last.batch // 2) if last.batch > 1 else None
    best = max(alive, key=lambda trial: trial.curve[0].value)
    fitting = (setting for setting in _neighbours(best.setting) if setting.batch < too_large)
    return next((setting for setting in fitting if setting not in tried), None)


def _neighbours(setting: Setting) -> list[Setting]:
    """Return settings in which one value is another: the learning rate first, which matters most."""
    rates = (float(f"{setting.learning_rate * factor:.3g}") for factor in (2, 0.5))
    batches = (int(setting.batch * factor) for factor in (0.5, 2))
    warmups = (float(f"{setting.warmup * factor:.3g}") for factor in (3, 1 / 3))
    return [
        *(replace(setting, learning_rate=rate) for rate in rates if RATES[0] <= rate <= RATES[1]),
        *(replace(setting, batch=batch) for batch in batches if BATCHES[0] <= batch <= BATCHES[1]),
        *(replace(setting, warmup=warmup) for warmup in warmups if WARMUPS[0] <= warmup <= WARMUPS[1]),
    ]


def _cost_of_next(trial: SettingTrial) -> float:
    return FRACTIONS[len(trial.curve)] * trial.setting.cost


def _lengths_left(trials: Sequence[SettingTrial], limits: SearchLimits) -> float:
    if limits.lengths is None:
        return float("inf")
    return limits.lengths - sum(trial.setting.cost * sum(FRACTIONS[: len(trial.curve)]) for trial in trials)
