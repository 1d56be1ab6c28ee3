"""Recovery against a plain fp32 `transformers.Trainer` on the same candidates and rows: examples per second, side by side.

`python benchmarks/training_speed.py STUDY.yaml [--threads 1] [--rounds 3]`, on a study that was searched (its teacher and the
teacher's outputs are taken from its store). Needs the extra `benchmarks` (accelerate). Let nothing else run meanwhile.
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
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("study")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(options.threads)}  # as workers are started
    side_by_side(options.study, options.threads, options.rounds)


def side_by_side(study: str, threads: int, rounds: int) -> None:
    """Both loops on each recipe, in turn."""
    import torch

    from autocompress.config import read_plan
    from autocompress.core.recipe import Recipe
    from autocompress.models import slicing
    from autocompress.search.study_context import StageTimer
    from autocompress.search.trial_pipeline import TrialPipeline
    from autocompress.storage.artifact_store import Store

    torch.set_num_threads(threads)
    plan = read_plan(study)
    pipeline, clock = TrialPipeline(plan, Store(plan.artifacts.path)), StageTimer(lambda stage, fraction: None)
    teacher, importance = pipeline.shared.teacher_model(clock), pipeline.shared.importance(clock)
    layers = len(pipeline.shared.family.layers(teacher))
    print(
        f"{threads} thread(s), batch {plan.recovery.batch}, {STEPS} steps, {rounds} rounds; examples per second (range)"
    )
    for shape in RECIPES:
        recipe = Recipe(**{**shape, "depth": round(shape["depth"] * layers)})
        rates: dict[str, list[float]] = {"recovery": [], "Trainer": []}
        for _ in range(rounds):
            for name, loop in (("recovery", recovery_rate), ("Trainer", trainer_rate)):
                rates[name].append(loop(pipeline, slicing.build_candidate(teacher, recipe, importance), clock))
        ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
        told = "; ".join(f"{name} {statistics.median(r):.0f} ({min(r):.0f}…{max(r):.0f})" for name, r in rates.items())
        print(f"{recipe.describe()}: {told}; {statistics.median(ratios):.2f}× ({min(ratios):.2f}…{max(ratios):.2f})")


def recovery_rate(pipeline: Any, candidate: Any, clock: Any) -> float:
    """Examples per second of our distillation, the teacher's outputs from disk."""
    from autocompress.training.distillation import distil

    shared, settings = pipeline.shared, pipeline.plan.recovery
    lengths, rows = shared.lengths("lessons"), len(shared.lengths("train"))
    began = 0.0

    def progress(fraction: float) -> None:
        nonlocal began, counted
        if not began and fraction * (STEPS + WARM_UP) >= WARM_UP:
            began, counted = time.perf_counter(), (1 - fraction) * (STEPS + WARM_UP)

    counted = 0.0
    epochs = (STEPS + WARM_UP) * settings.batch / rows
    distil(
        candidate, shared.targets(clock), shared.distillation_batch, lengths, rows, settings, 0, progress, epochs=epochs
    )
    return counted * settings.batch / (time.perf_counter() - began)


def trainer_rate(pipeline: Any, candidate: Any, clock: Any) -> float:
    """Examples per second of `transformers.Trainer` in fp32: AdamW, rows in random order, padded to the longest of a batch."""
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    shared, batch = pipeline.shared, pipeline.plan.recovery.batch
    tokens = shared.tokens["train"]
    rows = Dataset.from_dict({"input_ids": list(tokens.input_ids), "labels": tokens.labels})
    began = 0.0

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            nonlocal began
            if state.global_step == WARM_UP:
                began = time.perf_counter()

    candidate.model.set_attn_implementation("sdpa")  # transformers' own default
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, max_steps=STEPS + WARM_UP, per_device_train_batch_size=batch, learning_rate=1e-4, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        Trainer(
            candidate.model, settings, train_dataset=rows, data_collator=DataCollatorWithPadding(shared.tokenizer),
            callbacks=[Watch()],
        ).train()  # fmt: skip
    return STEPS * batch / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
