"""Which sampler proposes recipes: decided in one place."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import optuna

from autocompress.core.errors import UsageError, unknown

STARTUP_TRIALS = 8  # random ones, the teacher and the starters counted
POPULATION = 16  # of NSGA-II: several generations must fit into some tens of trials
SAMPLERS = ("tpe", "gp", "nsga2", "random")


def make_sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    """`tpe`: independent per decision, as multivariate TPE does no better than chance with several objectives;
    `gp`: better in the first hundred trials and slow beyond three hundred, and it loads torch in this process;
    `nsga2` and `random`: to compare with."""
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
