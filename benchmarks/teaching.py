"""What brings a small candidate nearer to its teacher, in equal seconds of training?

`python -m benchmarks.teaching run [--only SET …] [--methods NAME …] [--seed N]` makes a teacher and a super-net for each set,
and trains two candidates (3 and 2 layers, half the heads, a quarter of the neurons) with every method: from the same weights,
on the same rows and what the method adds to them, for as many steps as fit the seconds of today's training, or as many as the
method names. Each is deployed in 8 bits, and both forms answer all of validation and test. It appends a row to teaching.json
after each training, and goes on where it stopped. `… report` prints the tables: agreement with the teacher, accuracy on test,
and what a method adds to today's training on the same rows. Nothing else may run meanwhile, since the time of a step is
measured. Teachers and super-nets stay in studies/teaching. Needs the data sets in AUTOCOMPRESS_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers_records import pack_labels, unpack_labels

if TYPE_CHECKING:
    from autocompress.models.candidate import Candidate
    from autocompress.search.stage_timer import StageTimer
    from autocompress.search.teacher_provider import TeacherProvider
    from autocompress.search.trial_pipeline import TrialPipeline

RECORDS = Path(__file__).with_name("teaching.json")
FOLDER = Path(__file__).parent.parent / "studies" / "teaching"
SETS = ("banking77", "sst2", "trec", "mrpc")
STRUCTURE = {"head_sparsity": 0.5, "ffn_sparsity": 0.75, "weight_bits": 8, "embedding_bits": 8}
CANDIDATES = {f"{depth} layers": {"depth": depth, **STRUCTURE} for depth in (3, 2)}
TODAY = "today"
WRITTEN = "written texts"
METHODS: dict[str, dict[str, Any]] = {  # decisions that are added to the recipe
    TODAY: {},
    WRITTEN: {},
    "1 copy with replaced words": {"replaced_words": 1},
    "4 copies with replaced words": {"replaced_words": 4},
    "2 copies with swapped words": {"swapped_words": 2},
    "2 copies with dropped words": {"dropped_words": 2},
    "2 copies with inserted words": {"inserted_words": 2},
    "written texts, three times the steps": {},
    "today, three times the steps": {},
    "all four": {"replaced_words": 2, "swapped_words": 1, "dropped_words": 1, "inserted_words": 1},
}
RECOVERY: dict[str, dict[str, Any]] = {  # changes of how super-net and candidates are trained
    WRITTEN: {"copy_kind": "written"},
    "written texts, three times the steps": {"copy_kind": "written", "epochs": 18},
    "today, three times the steps": {"epochs": 18},
}
FULL_RUNG, EPOCHS = 2, 6
TIMINGS = 3  # of a step; the shortest counts
OVERRIDES = (  # of the study file that `init` writes: amounts as in a search of half an hour, and no time limit
    "budget={}", "teacher.fine_tune={auto: true, time: 450s}", "recovery.copies=2", "recovery.distilled_rows=30000",
    "recovery.supernet_epochs=6", "recovery.short_epochs=0", f"recovery.epochs={EPOCHS}",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trained candidate. Predictions are labels of the test rows: base85 of zlib of uint8."""

    set: str
    seed: int
    candidate: str
    method: str
    seconds: float  # of training
    label_seconds: float  # of the teacher's outputs on what the method adds
    steps: int
    validation: float  # accuracy of the deployed model
    plain: str  # predictions of the trained weights in fp32
    deployed: str  # those of the deployed model
    teacher: str  # those of the teacher
    truth: str
    machine: dict[str, Any]

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What names the row."""
        return self.set, self.seed, self.candidate, self.method

    def agrees(self, form: str = "deployed") -> np.ndarray:
        """Return for each test row whether the model predicts what the teacher does (rows,)."""
        return np.asarray(unpack_labels(getattr(self, form)) == unpack_labels(self.teacher))

    def is_right(self) -> np.ndarray:
        """Return for each test row whether the deployed model is right (rows,)."""
        return np.asarray(unpack_labels(self.deployed) == unpack_labels(self.truth))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what == "run":
        for name in options.only:
            run_set(name, options.seed, [TODAY, *(method for method in options.methods if method != TODAY)])
    print("\n".join(report(read_rows())))


def run_set(name: str, seed: int, methods: Sequence[str]) -> None:
    """Train what is not recorded yet."""
    known = {row.key for row in read_rows()}
    missing = [(kind, method) for method in methods for kind in CANDIDATES if (name, seed, kind, method) not in known]
    school = School(name, seed) if missing else None
    for kind, method in missing:
        assert school is not None  # something is missing
        append(school.train(kind, method))


@dataclass
class School:
    """The teacher, super-net and rows of a set."""

    name: str
    seed: int
    steps: dict[tuple[str, str], float] = field(default_factory=dict)  # candidate, method -> seconds of one step

    @cached_property
    def pipeline(self) -> TrialPipeline:
        """The trial pipeline of the set's study."""
        from autocompress.config import read_plan
        from autocompress.search.plan_check import complete_plan
        from autocompress.search.trial_pipeline import TrialPipeline
        from autocompress.storage.artifact_store import Store
        from benchmarks import choosing_searches as searches

        file = searches.write_study(self.name, self.seed, FOLDER)
        changes = [*searches.OVERRIDES.get(self.name, ()), *OVERRIDES, f"seed={self.seed}"]
        plan = complete_plan(read_plan(file, changes), offline=True)
        return TrialPipeline(plan, Store(FOLDER / f"{self.name}-{self.seed}"))

    def train(self, kind: str, method: str) -> Row:
        """Train a candidate with a method for the seconds of today's training, deploy it and let it answer."""
        from autocompress.benchmarking import machine
        from autocompress.search.stage_timer import StageTimer

        print(f"==== {self.name}-{self.seed} {kind}: {method}", flush=True)
        pipeline, context = self.pipeline, self.pipeline.context
        timer = StageTimer(lambda stage, done: print(f"\r{stage} {done:4.0%}   ", end="", flush=True))
        context.data.tokens  # noqa: B018  # from now on the tokenizer cuts texts at max_tokens
        context.teacher.load(timer)
        changes = {"copy_kind": "edited", "epochs": EPOCHS, **RECOVERY.get(method, {})}
        context.apply_recovery(pipeline.plan.recovery.model_copy(update=changes))
        context.supernet(timer)  # made once for each kind of copies; what follows is the method's
        before = dict(timer.seconds)
        share = self._step_seconds(kind, TODAY, timer) / self._step_seconds(kind, method, timer)
        context.apply_recovery(pipeline.plan.recovery.model_copy(update={"epochs": changes["epochs"] * share}))
        candidate = self._build(kind, method, timer)
        pipeline.training.bring_to_rung(candidate, FULL_RUNG, timer)
        spent = {stage: seconds - before.get(stage, 0.0) for stage, seconds in timer.seconds.items()}
        plain, deployed = self._run_plain(candidate), self._run_deployed(candidate, timer)
        print()
        tokens, recovery = context.data.tokens, pipeline.plan.recovery
        return Row(
            set=self.name, seed=self.seed, candidate=kind, method=method, seconds=round(spent["recovery"], 1),
            label_seconds=round(spent.get("teacher outputs", 0.0), 1),
            steps=round(recovery.epochs * len(context.data.lengths("train")) / recovery.batch),
            validation=float((deployed["validation"] == tokens["validation"].labels.values).mean()),
            plain=pack_labels(plain), deployed=pack_labels(deployed["test"]), teacher=pack_labels(self._teacher_labels),
            truth=pack_labels(tokens["test"].labels.values), machine=machine("onnxruntime"),
        )  # fmt: skip

    def _build(self, kind: str, method: str, timer: StageTimer) -> Candidate:
        context = self.pipeline.context
        recipe = context.teacher.recipe.replace(**CANDIDATES[kind], **METHODS[method])
        return context.build(context.teacher.load(timer), recipe, timer)

    def _step_seconds(self, kind: str, method: str, timer: StageTimer) -> float:
        """Return the seconds of one step: the shortest of a few timings, since another program can only slow it."""
        known = self.steps.get((kind, method))
        if known is None:
            candidate, rates = self._build(kind, method, timer), self.pipeline.context.rates()
            known = self.steps[kind, method] = min(rates.candidate_step_seconds(candidate) for _ in range(TIMINGS))
        return known

    @cached_property
    def _teacher_labels(self) -> np.ndarray:
        return self._run_plain(self.pipeline.context.teacher)

    def _run_plain(self, model: Candidate | TeacherProvider) -> np.ndarray:
        """Return the labels (rows,) that the weights predict on test in fp32."""
        from autocompress.models.forward import open_forward
        from autocompress.training.evaluation import evaluate_rows

        data = self.pipeline.context.data
        tokens = data.tokens["test"]
        forward = open_forward(model.model.eval(), model.family)
        outputs, _ = evaluate_rows(forward, partial(data.training_batch, tokens), tokens.lengths, data.objective)
        return np.asarray(data.task.predict(outputs, tokens))

    def _run_deployed(self, candidate: Candidate, timer: StageTimer) -> dict[str, np.ndarray]:
        """Return the labels (rows,) that the deployed model predicts, by split."""
        pipeline, data = self.pipeline, self.pipeline.context.data
        runtime = pipeline.plan.device.runtime
        sha256 = pipeline.store.add_artifact(partial(pipeline.write_artifact, candidate, runtime=runtime))
        return {
            split: np.asarray(
                data.task.predict(pipeline.devices.outputs({runtime: sha256}, split, timer), data.tokens[split])
            )
            for split in ("validation", "test")
        }


def report(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the tables in Markdown, one for each set; differences are paired with today's training."""
    for name, seed in dict.fromkeys((row.set, row.seed) for row in rows):
        of_set = [row for row in rows if (row.set, row.seed) == (name, seed)]
        accuracy = 100 * (unpack_labels(of_set[0].teacher) == unpack_labels(of_set[0].truth)).mean()
        yield f"{name}, seed {seed}: {len(of_set[0].agrees()):,} test rows, the teacher {accuracy:.1f}\n"
        yield (
            "| candidate | method | agreement, % | fp32 | gain, points | accuracy | gain, points | steps | seconds |"
            " labels, s |"
        )
        yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
        for kind in CANDIDATES:
            of_kind = {row.method: row for row in of_set if row.candidate == kind}
            for method, row in of_kind.items():
                gains = ["", ""]
                if method != TODAY and TODAY in of_kind:
                    today = of_kind[TODAY]
                    gains = [gain(row.agrees(), today.agrees()), gain(row.is_right(), today.is_right())]
                agreement, plain, accuracy = (
                    f"{100 * right.mean():.1f}" for right in (row.agrees(), row.agrees("plain"), row.is_right())
                )
                yield (
                    f"| {kind} | {method} | {agreement} | {plain} | {gains[0]} | {accuracy} | {gains[1]} | {row.steps:,} |"
                    f" {row.seconds:.0f} | {row.label_seconds:.0f} |"
                )
        yield ""


def gain(now: np.ndarray, before: np.ndarray) -> str:
    """Return what a method adds on the same rows, in points, with the half-width of its 95 % interval (paired)."""
    differences = now.astype(np.float64) - before
    return f"{100 * differences.mean():+.1f} ± {196 * differences.std() / len(differences) ** 0.5:.1f}"


def read_rows() -> list[Row]:
    """Return all recorded rows."""
    return [Row(**row) for row in json.loads(RECORDS.read_text(encoding="utf-8"))] if RECORDS.is_file() else []


def append(row: Row) -> None:
    """Add a row to the records."""
    lines = ",\n".join(json.dumps(asdict(known)) for known in [*read_rows(), row])
    unfinished = RECORDS.with_suffix(".new")
    unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(unfinished, RECORDS)


if __name__ == "__main__":
    main()
