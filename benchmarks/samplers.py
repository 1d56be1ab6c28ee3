"""Compare samplers by the number of trials that they need, on landscapes fitted to recorded studies.

`python benchmarks/samplers.py STUDY.yaml … [--seeds 10]`: the untrained trials of each study fit a kernel regression of the
drop of any recipe, and linear models of its latency and size. Each sampler then searches this landscape. Prints the hypervolume
of its trials after 30, 60, 120 and 300 of them, as a share of the hypervolume of 4,000 random recipes.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import moocore
import numpy as np
import optuna
from numpy.typing import NDArray

from autocompress.config import read_plan
from autocompress.core.domain import Anatomy
from autocompress.core.recipe import Recipe
from autocompress.selection.dominance import corner
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space
from autocompress.study import StudyView, read_study

CHECKPOINTS = (30, 60, 120, 300)
MAX_GP_TRIALS = 120  # beyond that a proposal takes seconds
Floats = NDArray[np.float64]


def make_samplers(seed: int) -> dict[str, Callable[[], optuna.samplers.BaseSampler]]:
    """Return a constructor for each sampler, by its name."""
    return {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "NSGA-II, 16": lambda: optuna.samplers.NSGAIISampler(population_size=16, seed=seed),
        "TPE": lambda: optuna.samplers.TPESampler(n_startup_trials=8, seed=seed),
        "TPE, multivariate": lambda: optuna.samplers.TPESampler(n_startup_trials=8, multivariate=True, seed=seed),
        "GP": lambda: optuna.samplers.GPSampler(
            n_startup_trials=8, seed=seed, independent_sampler=optuna.samplers.TPESampler(n_startup_trials=8, seed=seed)
        ),
    }


class Landscape:
    """A fitted model of drop, latency and size of any recipe of a study's space."""

    def __init__(self, view: StudyView, space: Space) -> None:
        rows = [
            row
            for row in view.rows
            if row.trial and row.state == "complete" and row.rung in (0, 2) and row.drop is not None
        ]
        untrained = [row for row in rows if row.rung == 0 or row.recipe.shares_weights(space.teacher)]
        assert view.reference is not None, "the study has not been searched"
        self.rows, self._layers, self._corner = untrained, space.anatomy.layers, corner(view.reference)
        points = np.array([self._features(row.recipe) for row in untrained])
        drops = np.array([100 * (row.soft_drop if row.soft_drop is not None else row.drop or 0.0) for row in untrained])
        self._points, self._level = points, float(np.median(drops))
        kernel = self._kernel(points, points) + 0.05 * np.eye(len(points))
        self._weights = np.linalg.solve(kernel, drops - self._level)
        terms = np.array([self._linear_terms(row.recipe) for row in untrained])
        self._latency = np.linalg.lstsq(terms, np.log2([row.latency_ms or 1.0 for row in untrained]), rcond=None)[0]
        self._size = np.linalg.lstsq(terms, np.log2([row.size_mb or 1.0 for row in untrained]), rcond=None)[0]

    def predict(self, recipe: Recipe) -> Floats:
        """Predict (drop in points, log2 latency, log2 size) of a recipe."""
        drop = self._level + self._kernel(self._features(recipe)[None], self._points)[0] @ self._weights
        terms = self._linear_terms(recipe)
        return np.array([drop, terms @ self._latency, terms @ self._size])

    def hypervolume(self, points: Sequence[Floats]) -> float:
        """Return the hypervolume of points."""
        return float(moocore.hypervolume(np.array(points), ref=self._corner))

    def _features(self, recipe: Recipe) -> Floats:
        bits = [np.log2(recipe["weight_bits"]) / 2, np.log2(recipe["embedding_bits"]) / 4]
        return np.array(
            [
                2 * (recipe["depth"] or self._layers) / self._layers,
                recipe["head_sparsity"],
                recipe["ffn_sparsity"],
                *bits,
            ]
        )

    def _linear_terms(self, recipe: Recipe) -> Floats:
        depth, heads, neurons, *bits = self._features(recipe)
        return np.array([1, depth, depth**2, heads, neurons, depth * heads, depth * neurons, *bits, bits[0] ** 2])

    @staticmethod
    def _kernel(left: Floats, right: Floats) -> Floats:
        distance = ((left[:, None] - right[None]) ** 2).sum(-1)
        return 9.0 * np.exp(-distance / (2 * 0.5**2))


def search_landscape(
    landscape: Landscape, space: Space, sampler: optuna.samplers.BaseSampler, trials: int, initial_recipes: bool
) -> list[float]:
    """Search the landscape, and return the hypervolume at each checkpoint."""
    study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
    if initial_recipes:
        for recipe in space.initial_recipes():
            study.enqueue_trial(space.params(recipe))
    points: list[Floats] = []
    hypervolumes = []
    for number in range(1, trials + 1):
        trial = study.ask()
        points.append(landscape.predict(space.suggest(trial)))
        study.tell(trial, [float(value) for value in points[-1]])
        if number in CHECKPOINTS:
            hypervolumes.append(landscape.hypervolume(points))
    return hypervolumes


def main() -> None:
    """Compare the samplers, and print a table per study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for file in arguments.studies:
        compare_samplers(file, arguments.seeds)


def compare_samplers(file: Path, seeds: int) -> None:
    """Print the table of one study."""
    plan = read_plan(file)
    view = read_study(plan.storage, plan.study)
    depths = [row.recipe["depth"] for row in view.rows if row.trial == 0]
    space = resolve_space(plan.space, Anatomy(int(depths[0] or 0)), {}, "space")
    landscape = Landscape(view, space)
    random = Random(0)
    reference = landscape.hypervolume([landscape.predict(space.draw(random)) for _ in range(4000)])
    print(f"\n{plan.study}: {len(landscape.rows)} recorded trials, {space.size()} recipes.")
    print("Share of the hypervolume in %: mean ± standard deviation over seeds\n")
    print("| sampler | initial recipes | " + " | ".join(f"{at} trials" for at in CHECKPOINTS) + " | ms per proposal |")
    print("|---|---|" + "--:|" * (len(CHECKPOINTS) + 1))
    for name in make_samplers(0):
        for initial_recipes in (False, True):
            trials = MAX_GP_TRIALS if name == "GP" else CHECKPOINTS[-1]
            start = time.perf_counter()
            runs: list[Any] = [
                search_landscape(landscape, space, make_samplers(seed)[name](), trials, initial_recipes)
                for seed in range(seeds)
            ]
            cost = 1e3 * (time.perf_counter() - start) / (seeds * trials)
            cells = [[100 * value / reference for value in values] for values in zip(*runs, strict=True)]
            shown = [f"{statistics.mean(cell):.1f} ± {statistics.stdev(cell):.1f}" for cell in cells]
            shown += ["–"] * (len(CHECKPOINTS) - len(shown))
            print(
                f"| {name} | {'yes' if initial_recipes else 'no'} | " + " | ".join(shown) + f" | {cost:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
