"""The value of the exported graph: the smallest models of a front against a naive export of the same weights.

`python -m benchmarks.small_models STUDY.yaml [--models 4]`, on a finished study. The naive export is `torch.onnx.export` of the
transformers model, then onnxruntime's `quantize_dynamic` with its defaults if the recipe has 8-bit weights. Both run in
default sessions, in blocks that alternate in one process. Run nothing else at the same time.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

from autocompress import benchmarking
from autocompress.actions.locate import locate
from autocompress.runtimes import onnxruntime as runtime


def main() -> None:
    """Export, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("--models", type=int, default=4, help="number of models, from the fastest")
    arguments = parser.parse_args()

    from autocompress.search.trial_pipeline import TrialPipeline

    located = locate(arguments.study, None)
    view = located.view()
    plan, store = located.plan("this benchmark"), located.store(view)
    if view.recovery is not None:  # fitted to the budget when the study started
        plan = plan.model_copy(update={"recovery": type(plan.recovery).model_validate(view.recovery)})
    pipeline = TrialPipeline(plan, store)
    fastest = sorted(
        (row for row in view.front if row.recipe["weight_bits"] in (8, 32)), key=lambda row: row.latency_ms or 0
    )
    print(
        f"{plan.device.threads} thread(s), batch {plan.device.batch}, {plan.device.tokens} tokens, {benchmarking.cpu_name()}\n"
    )
    print(
        "| trial | recipe | operators | naive | latency, ms | naive, ms | times as fast (95 %) |\n|--:|:--|--:|--:|--:|--:|--:|"
    )
    for row in fastest[: arguments.models]:
        candidate = pipeline.rebuild(row.recipe, row.rung, lambda stage, done: None)
        with tempfile.TemporaryDirectory() as folder:
            naive, exported = Path(folder), store.artifact(row.sha256 or "")
            export_naively(candidate.model, row.recipe["weight_bits"], naive / "model.onnx")
            feeds = benchmarking.latency_feeds(
                candidate.model.config.vocab_size,
                plan.device.batch,
                plan.device.tokens,
                pipeline.context.data.lengths("validation"),
                0,
            )
            latency = benchmarking.measure_latency(
                lambda: runtime.open_session(exported, plan.device.threads),  # noqa: B023  # called within this iteration
                lambda: runtime.open_session(naive, plan.device.threads),  # noqa: B023
                feeds,
            )
            operators = f"{count_operators(exported)} | {count_operators(naive)}"
            low, high = latency.speedup_interval.low, latency.speedup_interval.high
            print(
                f"| {row.trial} | {row.recipe.describe()} | {operators} | {latency.p50_ms:.3f} |"
                f" {latency.reference_p50_ms:.3f} | {latency.speedup:.2f}× ({low:.2f} to {high:.2f}) |"
            )


def export_naively(model: Any, bits: int, file: Path) -> None:
    """Export a model as in common tutorials."""
    import onnx
    import torch
    from onnxruntime.quantization import quantize_dynamic

    names, buffer = ["input_ids", "attention_mask"], io.BytesIO()
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        torch.onnx.export(
            _logits_module(model), tuple(torch.ones(1, 9, dtype=torch.int64) for _ in names), buffer, dynamo=False,  # type: ignore[arg-type]
            input_names=names, output_names=["logits"], opset_version=20,
            dynamic_axes={**{name: {0: "batch", 1: "sequence"} for name in names}, "logits": {0: "batch"}},
        )  # fmt: skip
    onnx.save(onnx.load_from_string(buffer.getvalue()), file)
    if bits == 8:
        quantize_dynamic(file, file)


def _logits_module(model: Any) -> Any:
    """Wrap a transformers model into a module that returns its logits."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    return Logits().eval()


def count_operators(folder: Path) -> int:
    """Return the number of operators of a graph."""
    import onnx

    return len(onnx.load(folder / "model.onnx").graph.node)


if __name__ == "__main__":
    main()
