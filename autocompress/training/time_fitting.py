"""Choose how long to train: amounts of training that fit a time budget, from the measured time of a step on this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from autocompress.config import Recovery

# Shares of the remaining time: the teacher's outputs, the super-net, the trials that are trained in full.
TARGETS_SHARE, SUPERNET_SHARE, FULL_SHARE = 0.06, 0.18, 0.4
FURTHER_TARGETS_SHARE, FURTHER_SHARE = 0.2, 0.5  # where there is one candidate only; measuring takes the rest
REUSABLE_FRACTION = (
    0.5  # an existing super-net is used where it was trained for at least this part of the fitted epochs
)
FULL_TRIALS = (5, 16)  # fewest and most trials trained in full; with their bit-widths they are most of a front
SHORT_FRACTION = 1 / 8  # of a full training
WHOLE_DEPTH_FRACTION = 1 / 3  # of the learning rate, for candidates that keep every layer (see studies/LOG.md)
MOST_COPIES = 6
SUPERNET_STEPS, FULL_STEPS = (150, 2000), (150, 6000)  # fewest, most
SHORT_STEPS = (120, 800)  # 55 steps left candidates as far from the teacher as before, or farther (see studies/LOG.md)


@dataclass(frozen=True, kw_only=True)
class TrainingRates:
    """Seconds on this machine, measured in a few seconds before the first trial."""

    label: float  # the teacher's outputs on one row, on all cores
    supernet_step: float  # one step of the super-net's training, on all cores
    step: float  # one step of training a candidate of medium size in one worker, while the other workers run
    rows: int  # of the train split
    further: int  # unlabelled rows
    trained: Mapping[str, Any] = field(default_factory=dict)  # amounts of the existing super-net; empty: none

    def count_rows(self, copies: int) -> int:
        """Return how many rows there are to learn from, with so many copies of each training row."""
        return self.rows * (1 + copies) + self.further


def fit_training_time(
    recovery: Recovery, fixed: Collection[str], seconds: float, workers: int, rates: TrainingRates
) -> Recovery:
    """Fit `copies`, `distilled_rows`, `supernet_epochs`, `short_epochs` and `epochs` to the remaining seconds.

    The amounts in `fixed`, which the study file sets, do not change. An existing super-net is used where it was trained for at
    least half the fitted epochs; its time goes to the trials. `whole_depth_learning_rate` follows from the learning rate.
    """
    epochs_per_step = recovery.batch / rates.rows
    shared = _fit_shared_amounts(recovery, fixed, seconds, rates, epochs_per_step)
    is_reused = rates.trained.get("supernet_epochs", 0.0) >= REUSABLE_FRACTION * shared["supernet_epochs"]
    if is_reused:
        shared = {name: rates.trained[name] for name in shared}
        seconds /= 1 - TARGETS_SHARE - SUPERNET_SHARE
    trials = _clip(2 * (seconds / 60) ** 0.5, FULL_TRIALS)  # a short budget trains few trials in full
    full_steps = _clip(FULL_SHARE * seconds * workers / trials / rates.step, FULL_STEPS)
    if "epochs" in fixed:
        full_steps = recovery.epochs / epochs_per_step
    short_steps = _clip(full_steps * SHORT_FRACTION, SHORT_STEPS)
    amounts = shared | {"short_epochs": epochs_per_step * short_steps, "epochs": epochs_per_step * full_steps}
    if "learning_rate" not in fixed:
        amounts["whole_depth_learning_rate"] = WHOLE_DEPTH_FRACTION * recovery.learning_rate
    fitted = recovery.model_copy(update={name: amount for name, amount in amounts.items() if name not in fixed})
    if "distilled_rows" in fixed:
        return fitted
    rows = rates.trained.get("distilled_rows") if is_reused else _count_distilled_rows(fitted, seconds, rates)
    return fitted.model_copy(update={"distilled_rows": rows})


def fit_further_training(recovery: Recovery, fixed: Collection[str], seconds: float, rates: TrainingRates) -> Recovery:
    """Fit `copies`, `distilled_rows` and `epochs` to the remaining seconds of a study that only trains an earlier candidate.

    There is no short training. The amounts in `fixed`, which the study file sets, do not change.
    """
    steps = _clip(FURTHER_SHARE * seconds / rates.step, FULL_STEPS)
    labelled = FURTHER_TARGETS_SHARE * seconds / rates.label
    copies = int(_clip((labelled - rates.further) / rates.rows - 1, (0, MOST_COPIES)))
    amounts = {"short_epochs": 0.0, "epochs": steps * recovery.batch / rates.rows, "copies": copies}
    fitted = recovery.model_copy(update={name: amount for name, amount in amounts.items() if name not in fixed})
    if "distilled_rows" in fixed:
        return fitted
    rows = int(max(rates.rows * fitted.epochs, labelled))
    return fitted.model_copy(update={"distilled_rows": rows if rows < rates.count_rows(fitted.copies) else None})


def _fit_shared_amounts(
    recovery: Recovery, fixed: Collection[str], seconds: float, rates: TrainingRates, epochs_per_step: float
) -> dict[str, float]:
    """Fit the amounts of the work that all trials share."""
    rows = TARGETS_SHARE * seconds / rates.label
    supernet_steps = _clip(SUPERNET_SHARE * seconds / rates.supernet_step, SUPERNET_STEPS)
    amounts = {
        "copies": int(_clip((rows - rates.further) / rates.rows - 1, (0, MOST_COPIES))),
        "supernet_epochs": epochs_per_step * supernet_steps,
    }
    return amounts | {name: getattr(recovery, name) for name in amounts if name in fixed}


def _count_distilled_rows(recovery: Recovery, seconds: float, rates: TrainingRates) -> int | None:
    """Return the rows to learn from: as many as the longest training reads, or as the teacher's share of the time holds; null
    where that is all there are."""
    read = rates.rows * max(recovery.supernet_epochs, recovery.epochs)
    rows = int(max(read, TARGETS_SHARE * seconds / rates.label))
    return rows if rows < rates.count_rows(recovery.copies) else None


def _clip(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
