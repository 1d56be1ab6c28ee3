"""Our distillation against a plain fp32 `transformers.Trainer` on the same candidates and rows: examples per second.

`python benchmarks/training_speed.py STUDY.yaml [--threads 1] [--rounds 3]`, on a finished study: its store provides the teacher
and the teacher's outputs. Needs the extra `benchmarks` (accelerate). Run nothing else at the same time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from typing import Any

RECIPES = (
    {"depth": 1.0, "head_sparsity": 0.5, "ffn_sparsity": 0.75},
    {"depth": 0.5, "head_sparsity": 0.5, "ffn_sparsity": 0.75},
)
STEPS, WARM_UP = 60, 5


def main() -> None:
    """Alternate the two loops, and print the median rates, their range, and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # as in the workers of a search
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(options.threads)}
    compare_loops(options.study, options.threads, options.rounds)


def compare_loops(study: str, threads: int, rounds: int) -> None:
    """Alternate both loops on each recipe."""
    import torch

    from autocompress.config import read_plan
    from autocompress.core.recipe import Recipe
    from autocompress.search.stage_timer import StageTimer
    from autocompress.search.trial_pipeline import TrialPipeline
    from autocompress.storage.artifact_store import Store
    from autocompress.techniques.building import build_candidate

    torch.set_num_threads(threads)
    plan = read_plan(study)
    pipeline, clock = TrialPipeline(plan, Store(plan.artifacts.path)), StageTimer(lambda stage, fraction: None)
    teacher, importance = pipeline.context.teacher.load(clock), pipeline.context.importance(clock)
    layers = len(pipeline.context.teacher.family.layers(teacher))
    print(
        f"{threads} thread(s), batch {plan.recovery.batch}, {STEPS} steps, {rounds} rounds; examples per second (range)"
    )
    for shape in RECIPES:
        recipe = Recipe(**{**shape, "depth": round(shape["depth"] * layers)})
        rates: dict[str, list[float]] = {"distillation": [], "Trainer": []}
        for _ in range(rounds):
            for name, loop in (("distillation", distillation_rate), ("Trainer", trainer_rate)):
                rates[name].append(loop(pipeline, build_candidate(teacher, recipe, importance), clock))
        ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
        summary = "; ".join(
            f"{name} {statistics.median(r):.0f} ({min(r):.0f}…{max(r):.0f})" for name, r in rates.items()
        )
        print(f"{recipe.describe()}: {summary}; {statistics.median(ratios):.2f}× ({min(ratios):.2f}…{max(ratios):.2f})")


def distillation_rate(pipeline: Any, candidate: Any, clock: Any) -> float:
    """Return examples per second of our distillation, with the teacher's outputs from disk."""
    from autocompress.training.distillation import distil

    shared, settings = pipeline.context, pipeline.plan.recovery
    lengths, rows = shared.distillation_set.lengths, len(shared.data.lengths("train"))
    start = counted_steps = 0.0

    def progress(fraction: float) -> None:
        nonlocal start, counted_steps
        if not start and fraction * (STEPS + WARM_UP) >= WARM_UP:
            start, counted_steps = time.perf_counter(), (1 - fraction) * (STEPS + WARM_UP)

    epochs = (STEPS + WARM_UP) * settings.batch / rows
    distil(
        candidate,
        shared.targets(clock),
        shared.distillation_set.batch,
        lengths,
        rows,
        settings,
        0,
        progress,
        epochs=epochs,
    )
    return counted_steps * settings.batch / (time.perf_counter() - start)


def trainer_rate(pipeline: Any, candidate: Any, clock: Any) -> float:
    """Return examples per second of `transformers.Trainer` in fp32: AdamW, random order, rows padded per batch."""
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    shared, batch = pipeline.context, pipeline.plan.recovery.batch
    tokens = shared.data.tokens["train"]
    rows = Dataset.from_dict({"input_ids": list(tokens.input_ids), "labels": tokens.labels})
    start = 0.0

    class StartClock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            nonlocal start
            if state.global_step == WARM_UP:
                start = time.perf_counter()

    candidate.model.set_attn_implementation("sdpa")  # transformers' own default
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, max_steps=STEPS + WARM_UP, per_device_train_batch_size=batch, learning_rate=1e-4, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        Trainer(
            candidate.model, settings, train_dataset=rows, data_collator=DataCollatorWithPadding(shared.data.tokenizer),
            callbacks=[StartClock()],
        ).train()  # fmt: skip
    return STEPS * batch / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
