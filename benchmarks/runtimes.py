"""The best models of a study's runtimes side by side, in one interleaved run. `python -m benchmarks.runtimes STUDY.yaml`.

On a searched study with one device for onnxruntime and one for OpenVINO (`openvino` or `openvino_static`, which opens NNCF's
file, too): the fp32 teacher in onnxruntime, the same in OpenVINO, NNCF's int8 of the same teacher in OpenVINO (its defaults for
transformers, 300 training rows), and for each device what
`pick --max-drop 0.01 --prefer latency_ms` names there, and the fastest that was measured on test and lost at most one point
(the best of several on those rows, and so lucky there). Needs the extra `benchmarks` (nncf); let nothing else run meanwhile.
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
from autocompress.core import registry
from autocompress.runtimes import load_runtime_of
from autocompress.runtimes.openvino import OpenvinoSession
from autocompress.runtimes.openvino_static import StaticSession
from autocompress.search.trial_pipeline import TrialPipeline
from autocompress.selection import pick

ROUNDS, BLOCK_SECONDS, NNCF_ROWS = 12, 0.3, 300
ORT, VINO, NNCF = "teacher, fp32, onnxruntime", "teacher, fp32, openvino", "teacher, NNCF int8, openvino"
DROP = 0.01


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    located = locate(parser.parse_args().study, None)
    views = {name: located.view(name) for name in located.view().devices}
    runtimes = {view.plan["devices"][name]["runtime"]: name for name, view in views.items()}
    names = {runtime.partition("_")[0]: name for runtime, name in runtimes.items()}
    plan = located.plan("this benchmark")
    life = TrialPipeline(plan, located.store(views[names["onnxruntime"]]))
    threads = plan.device.threads
    opened: dict[str, Any] = {}
    quality: dict[str, str] = {}
    for runtime, name in sorted(names.items()):
        view = views[name]
        assert view.teacher is not None
        picked = pick(view.rows, {"max_drop": DROP}, "latency_ms", view.objectives, view.examples)
        best = getattr(picked, "row", None)
        tested = [row for row in view.rows if row.trial and row.test_drop is not None and row.test_drop <= DROP]
        fastest = min(tested, key=lambda row: row.latency_ms or float("inf"), default=None)
        for words, row in (
            (f"teacher, fp32, {runtime}", view.teacher),
            (f"picked, {runtime}", best),
            (f"fastest within {100 * DROP:g} point on test, {runtime}", fastest),
        ):
            if row is None:
                print(f"{runtime}: nothing holds {100 * DROP:g} point")
                continue
            folder = located.store(view).artifact(row.sha256 or "")
            label = words if row.trial == 0 else f"{words}: trial {row.trial}, {row.describe()}"
            opened[label] = load_runtime_of(folder).open_session(folder, threads)
            quality[label] = "" if row.test_drop is None else f"{100 * row.test_drop:.2f}"
    teacher = located.store(views[names["openvino"]]).artifact(views[names["openvino"]].teacher.sha256 or "")  # type: ignore[union-attr]
    session = StaticSession if "openvino_static" in runtimes else OpenvinoSession
    with tempfile.TemporaryDirectory() as place:
        opened[NNCF] = session(quantized_by_nncf(life, teacher, Path(place)), threads)
        quality[NNCF] = drop_of(opened, life)
        tell(opened, quality, life)


def drop_of(opened: Mapping[str, Any], life: TrialPipeline) -> str:
    """Points that NNCF's int8 loses on test."""
    test = life.shared.tokens["test"].labels
    logits = {
        label: benchmarking.logits_of(
            lambda feeds, label=label: np.concatenate([opened[label].run(feed) for feed in feeds]),  # type: ignore[misc]
            lambda rows: life.shared.arrays("test", rows),
            life.shared.lengths("test"),
            life.plan.device.batch,
        )
        for label in (NNCF, VINO)
    }
    return f"{100 * score('test', *logits.values(), test, life.devices.metric, life.plan.seed).drop:.2f}"


def tell(opened: Mapping[str, Any], quality: Mapping[str, str], life: TrialPipeline) -> None:
    """Blocks of all of them in turn; each one's ratio to two of them, with intervals over the rounds."""
    device = life.plan.device
    feeds = benchmarking.latency_feeds(
        len(life.shared.tokenizer), device.batch, device.tokens, life.shared.lengths("validation"), 0
    )
    calls = {label: block_calls(warm(session, feeds), BLOCK_SECONDS) for label, session in opened.items()}
    times = {label: np.empty(ROUNDS) for label in opened}
    for number in range(ROUNDS):
        for label, session in opened.items():
            times[label][number] = np.median(block(session, feeds, calls[label]))
    shape = f"{device.threads} thread(s), batch {device.batch}, {device.tokens} tokens"
    print(f"{shape}, {ROUNDS} rounds of blocks, {benchmarking.cpu_name()}\n")
    print("| model | test drop, points | ms | × onnxruntime fp32 | × NNCF int8 |\n|:--|--:|--:|--:|--:|")
    for label, mine in times.items():
        ratios = []
        for other in (ORT, NNCF):
            logs = np.log(times[other] / mine)
            middle, half = logs.mean(), half_width(list(logs))
            ratios.append(f"{np.exp(middle):.2f} ({np.exp(middle - half):.2f} to {np.exp(middle + half):.2f})")
        print(f"| {label} | {quality.get(label, '')} | {1e3 * np.median(mine):.3f} | {' | '.join(ratios)} |")


def quantized_by_nncf(life: TrialPipeline, teacher: Path, folder: Path) -> Path:
    """The file that NNCF makes of the teacher's fp32 file."""
    package = registry.load("runtimes", "openvino").load()
    import nncf

    model = package.Core().read_model(str(teacher / "model.onnx"))
    inputs = [entry.get_any_name() for entry in model.inputs]
    rows = [life.shared.arrays("train", np.array([row])) for row in range(NNCF_ROWS)]
    data = nncf.Dataset(rows, lambda row: {name: row[name] for name in inputs})
    small = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER)
    package.save_model(small, folder / "model.xml")
    return folder / "model.xml"


if __name__ == "__main__":
    main()
