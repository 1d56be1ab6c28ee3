"""The best models of a study's runtimes side by side, in one interleaved run. `python -m benchmarks.runtimes STUDY.yaml`.

Takes a finished study with one device for onnxruntime and one for OpenVINO (`openvino` or `openvino_static`, which also opens
NNCF's file). Compares the fp32 teacher in both runtimes, NNCF's int8 of the same teacher in OpenVINO (its defaults for
transformers, 300 training rows), and two models per device: the one that `pick --max-drop 0.01 --prefer latency_ms` names, and
the fastest that was measured on test and lost at most one point (the best of several on those rows, so its drop is lucky).
Needs the extra `benchmarks` (nncf); run nothing else at the same time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autocompress import benchmarking
from autocompress.actions.locate import locate
from autocompress.benchmarking.latency import block, block_calls, half_width, warm
from autocompress.benchmarking.scoring import score
from autocompress.core.trial_row import TrialRow
from autocompress.runtimes import RUNTIMES, load_runtime_of
from autocompress.runtimes.openvino import OpenvinoSession
from autocompress.runtimes.openvino_static import StaticSession
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.selection import pick
from autocompress.study import StudyView

ROUNDS, BLOCK_SECONDS, NNCF_ROWS = 12, 0.3, 300
ONNXRUNTIME, OPENVINO, NNCF = "teacher, fp32, onnxruntime", "teacher, fp32, openvino", "teacher, NNCF int8, openvino"
MAX_DROP = 0.01


def main() -> None:
    """Open all models, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    located = locate(parser.parse_args().study, None)
    views = {name: located.view(name) for name in located.view().devices}
    runtimes = {view.plan["devices"][name]["runtime"]: view for name, view in views.items()}
    views_by_package = {runtime.partition("_")[0]: view for runtime, view in runtimes.items()}
    plan = located.plan("this benchmark")
    pipeline = TrialPipeline(plan, located.store(views_by_package["onnxruntime"]))
    sessions: dict[str, Any] = {}
    drops: dict[str, str] = {}
    for runtime, view in sorted(views_by_package.items()):
        for label, row in select_models(runtime, view).items():
            folder = located.store(view).artifact(row.sha256 or "")
            sessions[label] = load_runtime_of(folder).open_session(folder, plan.device.threads)
            drops[label] = "" if row.test_drop is None else f"{100 * row.test_drop:.2f}"
    view = views_by_package["openvino"]
    assert view.teacher is not None
    teacher = located.store(view).artifact(view.teacher.sha256 or "")
    session = StaticSession if "openvino_static" in runtimes else OpenvinoSession
    with tempfile.TemporaryDirectory() as temporary:
        sessions[NNCF] = session(quantize_with_nncf(pipeline, teacher, Path(temporary)), plan.device.threads)
        drops[NNCF] = nncf_drop(sessions, pipeline)
        print_table(sessions, drops, pipeline)


def select_models(runtime: str, view: StudyView) -> dict[str, TrialRow]:
    """Return the teacher, the picked model and the fastest model within the drop of one device, by their labels."""
    assert view.teacher is not None
    picked = pick(view.rows, {"max_drop": MAX_DROP}, "latency_ms", view.objectives, view.examples)
    tested = [row for row in view.rows if row.trial and row.test_drop is not None and row.test_drop <= MAX_DROP]
    models = {f"teacher, fp32, {runtime}": view.teacher}
    for label, row in (
        (f"picked, {runtime}", getattr(picked, "row", None)),
        (
            f"fastest within {100 * MAX_DROP:g} point on test, {runtime}",
            min(tested, key=lambda row: row.latency_ms or float("inf"), default=None),
        ),
    ):
        if row is None:
            print(f"{runtime}: no model is within {100 * MAX_DROP:g} point")
        else:
            models[label if row.trial == 0 else f"{label}: trial {row.trial}, {row.describe()}"] = row
    return models


def nncf_drop(sessions: Mapping[str, Any], pipeline: TrialPipeline) -> str:
    """Return the points that NNCF's int8 loses on test."""
    test = pipeline.context.data.tokens["test"].labels
    logits = {
        label: benchmarking.logits_of(
            lambda feeds, label=label: np.concatenate([sessions[label].run(feed) for feed in feeds]),  # type: ignore[misc]
            lambda rows: pipeline.context.data.arrays("test", rows),
            pipeline.context.data.lengths("test"),
            pipeline.plan.device.batch,
        )
        for label in (NNCF, OPENVINO)
    }
    return f"{100 * score('test', *logits.values(), test, pipeline.devices.metric, pipeline.plan.seed).drop:.2f}"


def print_table(sessions: Mapping[str, Any], drops: Mapping[str, str], pipeline: TrialPipeline) -> None:
    """Alternate blocks of all models; print the ratio of each to both baselines, with intervals over the rounds."""
    device = pipeline.plan.device
    feeds = benchmarking.latency_feeds(
        len(pipeline.context.data.tokenizer),
        device.batch,
        device.tokens,
        pipeline.context.data.lengths("validation"),
        0,
    )
    calls = {label: block_calls(warm(session, feeds), BLOCK_SECONDS) for label, session in sessions.items()}
    times = {label: np.empty(ROUNDS) for label in sessions}
    for number in range(ROUNDS):
        for label, session in sessions.items():
            times[label][number] = np.median(block(session, feeds, calls[label]))
    shape = f"{device.threads} thread(s), batch {device.batch}, {device.tokens} tokens"
    print(f"{shape}, {ROUNDS} rounds of blocks, {benchmarking.cpu_name()}\n")
    print("| model | test drop, points | ms | × onnxruntime fp32 | × NNCF int8 |\n|:--|--:|--:|--:|--:|")
    for label, seconds in times.items():
        ratios = []
        for baseline in (ONNXRUNTIME, NNCF):
            logs = np.log(times[baseline] / seconds)
            middle, half = logs.mean(), half_width(list(logs))
            ratios.append(f"{np.exp(middle):.2f} ({np.exp(middle - half):.2f} to {np.exp(middle + half):.2f})")
        print(f"| {label} | {drops.get(label, '')} | {1e3 * np.median(seconds):.3f} | {' | '.join(ratios)} |")


def quantize_with_nncf(pipeline: TrialPipeline, teacher: Path, folder: Path) -> Path:
    """Quantize the teacher's fp32 file with NNCF; return the new file."""
    RUNTIMES.load("openvino").load_package()
    import nncf
    import openvino

    model = openvino.Core().read_model(str(teacher / "model.onnx"))
    inputs = [entry.get_any_name() for entry in model.inputs]
    rows = [pipeline.context.data.arrays("train", np.array([row])) for row in range(NNCF_ROWS)]
    data = nncf.Dataset(rows, lambda row: {name: row[name] for name in inputs})
    quantized = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, folder / "model.xml")
    return folder / "model.xml"


if __name__ == "__main__":
    main()
