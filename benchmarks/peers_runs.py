"""Run the peers on one case: build and score each that has no row yet, then time all models in the same rounds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autocompress.benchmarking import machine
from autocompress.search.executors.child import count_cores
from benchmarks.peer_recipes import REFERENCE, load_peer
from benchmarks.peers_cases import Case
from benchmarks.peers_environments import python_of
from benchmarks.peers_records import Row, pack_labels, read_rows, unpack_labels, write_rows
from benchmarks.peers_timing import last_line, shorten, time_models

ROOT = Path(__file__).parent.parent
RESAMPLES = 2000
MOST_SECONDS = 3 * 3600  # of a build, before it counts as failed


def run_case(case: Case, peers: Sequence[str]) -> None:
    """Write the missing rows of a case. The teacher comes first, because the others are compared with it."""
    names, known = dict.fromkeys((REFERENCE, *peers)), _read_rows(case)
    if all(name in known and (known[name].is_lost or known[name].is_timed) for name in names):
        return
    for name in dict.fromkeys((*names, *known)):  # a new peer is timed beside all others, so all models must be there
        if name not in known or not (known[name].is_lost or _is_built(case, name)):
            write_rows([build_row(case, name)])
    built = [row for row in _read_rows(case).values() if not row.is_lost]
    if not all(row.is_timed for row in built):
        write_rows(time_rows(case, built))


def build_row(case: Case, name: str) -> Row:
    """Build a peer's model where the case's folder does not hold it, and score it on test."""
    row = Row(set=case.data_set, seed=case.seed, peer=name, machine=machine("onnxruntime"))
    print(f"==== {case.data_set}-{case.seed} {name}", flush=True)
    try:
        if not _is_built(case, name):
            shutil.rmtree(_folder(case, name), ignore_errors=True)
            _run_worker(case, name, "build")
        built = json.loads((_folder(case, name) / "built.json").read_text(encoding="utf-8"))
        answer = json.loads(_run_worker(case, name, "predict"))
    except (subprocess.SubprocessError, OSError) as error:
        return replace(row, reason=_reason(error, _log(case, name)))
    labels = np.array(answer["labels"])
    accuracy = float((labels == case.rows("test").labels).mean())
    row = replace(row, seconds=round(built["seconds"], 1), notes=built["notes"], accuracy=accuracy,
                  size_mb=answer["size_mb"], versions=answer["versions"], predictions=pack_labels(labels))  # fmt: skip
    drop, interval = compare_labels(labels, _teacher_labels(case, row), case.rows("test").labels, case.seed)
    return replace(row, drop=drop, drop_interval=interval)


def compare_labels(
    labels: np.ndarray, teacher: np.ndarray, truth: np.ndarray, seed: int
) -> tuple[float, tuple[float, float]]:
    """Return the teacher's accuracy minus that of the labels, with its 95 % paired bootstrap interval over the rows."""
    differences = (teacher == truth).astype(np.int64) - (labels == truth)
    shares = np.array([(differences == value).mean() for value in (-1, 0, 1)])
    counts = np.random.default_rng(seed).multinomial(len(truth), shares, RESAMPLES)
    low, high = np.percentile((counts[:, 2] - counts[:, 0]) / len(truth), [2.5, 97.5])
    return float(differences.mean()), (float(low), float(high))


def time_rows(case: Case, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the times of their models, or with the reason why a model could not be timed."""
    commands = {row.peer: _command(case, row.peer, "serve") for row in rows}
    print(f"==== {case.data_set}-{case.seed} timing {len(commands)} models", flush=True)
    timings = time_models(commands, _environment(case.threads), _log(case, REFERENCE).parent)
    if REFERENCE in timings.failures:
        raise RuntimeError(f"the teacher of {case.data_set}-{case.seed} cannot be timed: {timings.failures[REFERENCE]}")
    model, texts = (timings.ratios(kind, REFERENCE) for kind in ("model", "texts"))
    timed = []
    for row in rows:
        if row.peer in timings.failures:
            timed.append(replace(row, reason=timings.failures[row.peer]))
            continue
        text, ratio = texts[row.peer], model.get(row.peer)
        with_text = replace(
            row, text_ms=text.milliseconds, text_speedup=text.speedup, text_speedup_interval=text.interval
        )
        timed.append(with_text if ratio is None else replace(
            with_text, latency_ms=ratio.milliseconds, speedup=ratio.speedup, speedup_interval=ratio.interval,
        ))  # fmt: skip
    return timed


def _read_rows(case: Case) -> dict[str, Row]:
    """Return the rows of a case by peer."""
    return {row.peer: row for row in read_rows().values() if (row.set, row.seed) == (case.data_set, case.seed)}


def _teacher_labels(case: Case, row: Row) -> np.ndarray:
    """Return the teacher's labels of the test rows; the first row of a case is the teacher's own."""
    teacher = row if row.peer == REFERENCE else _read_rows(case)[REFERENCE]
    if teacher.predictions is None:
        raise RuntimeError(f"the teacher of {case.data_set}-{case.seed} has no row: {teacher.reason}")
    return unpack_labels(teacher.predictions)


def _run_worker(case: Case, name: str, what: str) -> str:
    log = _log(case, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = _environment(count_cores() if what == "build" else case.threads)
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(_command(case, name, what), check=True, stdout=subprocess.PIPE, stderr=file, text=True,
                              env=environment, cwd=ROOT, timeout=MOST_SECONDS)  # fmt: skip
    return done.stdout


def _environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a worker: it uses so many threads, and looks for nothing on a hub."""
    openmp = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}  # spinning threads starve each other
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **openmp}


def _command(case: Case, name: str, what: str) -> list[str]:
    python = python_of(load_peer(name).environment)
    return [str(python), "-m", "benchmarks.peers_worker", what, name, str(case.folder), str(_folder(case, name))]


def _reason(error: Exception, log: Path) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it did not finish within {MOST_SECONDS // 60} minutes"
    return last_line(log) if isinstance(error, subprocess.CalledProcessError) else shorten(str(error))


def _is_built(case: Case, name: str) -> bool:
    return (_folder(case, name) / "built.json").is_file()


def _folder(case: Case, name: str) -> Path:
    return case.folder / "models" / name


def _log(case: Case, name: str) -> Path:
    return case.folder / "logs" / f"{name}.log"
