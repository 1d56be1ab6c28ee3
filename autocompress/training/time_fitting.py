"""How long to train: chosen so that a time budget is well spent, from what a step costs on this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from autocompress.config import Recovery

LABELS, SUPERNET, FULL = 0.06, 0.18, 0.4  # of the time left: teacher outputs, super-net, trials trained in full
LONG_ENOUGH = 0.5  # of what would be fitted: a super-net trained so long is taken as it is
FULL_TRIALS = (5, 16)  # fewest, most to be trained in full; with their bit-widths they are most of a front
SHORT = 1 / 8  # of a full training
MOST_COPIES = 6
SUPERNET_STEPS, FULL_STEPS, SHORT_STEPS = (150, 2000), (150, 6000), (40, 800)  # fewest, most


@dataclass(frozen=True, kw_only=True)
class TrainingRates:
    """Seconds on this machine, measured in a few seconds before the first trial."""

    label: float  # the teacher's outputs on one row, on all cores
    supernet_step: float  # one step of the super-net's training, on all cores
    step: float  # one step of training a middling candidate in one worker, beside the others
    rows: int  # of train
    further: int  # unlabelled rows
    trained: Mapping[str, float] = field(default_factory=dict)  # amounts of the super-net that is there already


def fit_training_time(
    recovery: Recovery, given: Collection[str], seconds: float, workers: int, rates: TrainingRates
) -> Recovery:
    """The recovery, its amounts fitted to the seconds that are left where the study file does not give them.

    Amounts: `copies`, `supernet_epochs`, `short_epochs`, `epochs`. What was given stays as it is. Where a super-net is
    there already and was trained at least half as long, it is the one: its time goes to the trials.
    """
    per_step = recovery.batch / rates.rows  # epochs
    labelled = LABELS * seconds / rates.label
    shared = {
        "copies": int(_between((labelled - rates.further) / rates.rows - 1, (0, MOST_COPIES))),
        "supernet_epochs": per_step * _between(SUPERNET * seconds / rates.supernet_step, SUPERNET_STEPS),
    }
    shared |= {name: getattr(recovery, name) for name in shared if name in given}
    if rates.trained.get("supernet_epochs", 0.0) >= LONG_ENOUGH * shared["supernet_epochs"]:
        shared = {"copies": int(rates.trained["copies"]), "supernet_epochs": rates.trained["supernet_epochs"]}
        seconds /= 1 - LABELS - SUPERNET
    trials = _between(2 * (seconds / 60) ** 0.5, FULL_TRIALS)  # in little time, few trained long
    full = _between(FULL * seconds * workers / trials / rates.step, FULL_STEPS)
    if "epochs" in given:
        full = recovery.epochs / per_step
    amounts = shared | {"short_epochs": per_step * _between(full * SHORT, SHORT_STEPS), "epochs": per_step * full}
    return recovery.model_copy(update={name: amount for name, amount in amounts.items() if name not in given})


def _between(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
