"""Which sampler finds a front in the fewest trials, on what recorded studies say of their spaces.

`python benchmarks/samplers.py STUDY.yaml … [--seeds 10]`: from the untrained trials of each study a kernel regression tells
the drop of any recipe, and straight lines its latency and size; each sampler then searches that landscape. Prints the
hypervolume that its trials cover after 30, 60, 120 and 300 of them, as a share of what 4,000 random recipes cover.
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
from autocompress.core.recipe import Recipe
from autocompress.selection.dominance import corner
from autocompress.space.parsing import resolve_space
from autocompress.space.space import Space
from autocompress.study import StudyView, read_study

AT = (30, 60, 120, 300)
MOST_GP = 120  # trials: beyond that a proposal takes seconds
Floats = NDArray[np.float64]


def samplers(seed: int) -> dict[str, Callable[[], optuna.samplers.BaseSampler]]:
    """Those that are compared."""
    found = optuna.samplers
    return {
        "random": lambda: found.RandomSampler(seed=seed),
        "NSGA-II, 16": lambda: found.NSGAIISampler(population_size=16, seed=seed),
        "TPE": lambda: found.TPESampler(n_startup_trials=8, seed=seed),
        "TPE, multivariate": lambda: found.TPESampler(n_startup_trials=8, multivariate=True, seed=seed),
        "GP": lambda: found.GPSampler(
            n_startup_trials=8, seed=seed, independent_sampler=found.TPESampler(n_startup_trials=8, seed=seed)
        ),
    }


class Landscape:
    """Drop, latency and size of any recipe of a study's space."""

    def __init__(self, view: StudyView, space: Space) -> None:
        rows = [
            row
            for row in view.rows
            if row.trial and row.state == "complete" and row.rung in (0, 2) and row.drop is not None
        ]
        untrained = [row for row in rows if row.rung == 0 or row.recipe.structure() == Recipe(depth=space.layers)]
        assert view.reference is not None, "a study that was searched"
        self.rows, self._layers, self._corner = untrained, space.layers, corner(view.reference)
        places = np.array([self._place(row.recipe) for row in untrained])
        drops = np.array([100 * (row.soft_drop if row.soft_drop is not None else row.drop or 0.0) for row in untrained])
        self._places, self._level = places, float(np.median(drops))
        kernel = self._kernel(places, places) + 0.05 * np.eye(len(places))
        self._weights = np.linalg.solve(kernel, drops - self._level)
        lines = np.array([self._lines(row.recipe) for row in untrained])
        self._latency = np.linalg.lstsq(lines, np.log2([row.latency_ms or 1.0 for row in untrained]), rcond=None)[0]
        self._size = np.linalg.lstsq(lines, np.log2([row.size_mb or 1.0 for row in untrained]), rcond=None)[0]

    def point(self, recipe: Recipe) -> Floats:
        """(drop in points, log2 latency, log2 size)"""
        drop = self._level + self._kernel(self._place(recipe)[None], self._places)[0] @ self._weights
        lines = self._lines(recipe)
        return np.array([drop, lines @ self._latency, lines @ self._size])

    def covered(self, points: Sequence[Floats]) -> float:
        """Hypervolume of some points."""
        return float(moocore.hypervolume(np.array(points), ref=self._corner))

    def _place(self, recipe: Recipe) -> Floats:
        bits = [np.log2(recipe.weight_bits) / 2, np.log2(recipe.embedding_bits) / 4]
        return np.array(
            [2 * (recipe.depth or self._layers) / self._layers, recipe.head_sparsity, recipe.ffn_sparsity, *bits]
        )

    def _lines(self, recipe: Recipe) -> Floats:
        depth, heads, neurons, *bits = self._place(recipe)
        return np.array([1, depth, depth**2, heads, neurons, depth * heads, depth * neurons, *bits, bits[0] ** 2])

    @staticmethod
    def _kernel(one: Floats, other: Floats) -> Floats:
        distance = ((one[:, None] - other[None]) ** 2).sum(-1)
        return 9.0 * np.exp(-distance / (2 * 0.5**2))


def searched(
    landscape: Landscape, space: Space, sampler: optuna.samplers.BaseSampler, trials: int, initial_recipes: bool
) -> list[float]:
    """Hypervolume at each of `AT`."""
    study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
    if initial_recipes:
        for recipe in space.initial_recipes():
            study.enqueue_trial(space.params(recipe))
    points: list[Floats] = []
    found = []
    for number in range(1, trials + 1):
        trial = study.ask()
        points.append(landscape.point(space.suggest(trial)))
        study.tell(trial, [float(value) for value in points[-1]])
        if number in AT:
            found.append(landscape.covered(points))
    return found


def main() -> None:
    """Compare, and print a table a study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for file in given.studies:
        compare(file, given.seeds)


def compare(file: Path, seeds: int) -> None:
    """One study's table."""
    plan = read_plan(file)
    view = read_study(plan.storage, plan.study)
    depths = [row.recipe.depth for row in view.rows if row.trial == 0]
    space = resolve_space(plan.space, int(depths[0] or 0), {}, "space")
    landscape = Landscape(view, space)
    chance = Random(0)
    most = landscape.covered([landscape.point(space.draw(chance)) for _ in range(4000)])
    print(f"\n{plan.study}: {len(landscape.rows)} recorded trials, {space.size()} recipes.")
    print("Share of the hypervolume in %: mean ± s.d. over seeds\n")
    print("| sampler | starters | " + " | ".join(f"{at} trials" for at in AT) + " | ms a proposal |")
    print("|---|---|" + "--:|" * (len(AT) + 1))
    for name in samplers(0):
        for initial_recipes in (False, True):
            trials = MOST_GP if name == "GP" else AT[-1]
            start = time.perf_counter()
            runs: list[Any] = [
                searched(landscape, space, samplers(seed)[name](), trials, initial_recipes) for seed in range(seeds)
            ]
            cost = 1e3 * (time.perf_counter() - start) / (seeds * trials)
            cells = [[100 * value / most for value in values] for values in zip(*runs, strict=True)]
            shown = [f"{statistics.mean(cell):.1f} ± {statistics.stdev(cell):.1f}" for cell in cells]
            shown += ["–"] * (len(AT) - len(shown))
            print(
                f"| {name} | {'yes' if initial_recipes else 'no'} | " + " | ".join(shown) + f" | {cost:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
