"""Make the sampler that proposes recipes."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import optuna

from autocompress.core.errors import UsageError, unknown

STARTUP_TRIALS = 8  # random ones; the teacher and the initial recipes count among them
POPULATION = 16  # of NSGA-II: several generations must fit into some tens of trials
SAMPLERS = ("tpe", "gp", "nsga2", "random")


def make_sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    """Make the sampler `kind`; UsageError for an unknown one, and for `gp` without scipy.

    `tpe`: independent per decision, as multivariate TPE is no better than random search with several objectives.
    `gp`: better in the first hundred trials, slow beyond three hundred, and loads torch in this process.
    `nsga2` and `random`: for comparison.
    """
    if kind == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    if kind == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if kind != "gp":
        raise unknown("sampler", kind, SAMPLERS)
    if find_spec("scipy") is None:
        raise UsageError("engine.sampler: gp needs scipy; pip install 'autocompress[gp]', or use tpe")
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        fallback = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, independent_sampler=fallback)
