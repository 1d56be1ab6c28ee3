"""The program that builds, scores and times one peer's model in that peer's environment; peers.py starts it.

`python -m benchmarks.peers_worker build|predict|serve PEER CASE FOLDER`. Its answers are lines of JSON on standard output;
whatever else the packages print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks.peer_recipes import Peer, load_peer
from benchmarks.peers_cases import Case, Text, read_case

TIMED_TEXTS, WARM_UP_TEXTS = 60, 10
BLOCK_SECONDS = 0.3


def main() -> None:
    """Do what the command line says."""
    answers = _reserve_output()
    what, name, case, folder = sys.argv[1:5]
    work = {"build": build, "predict": predict, "serve": serve}[what]
    work(load_peer(name), read_case(Path(case)), Path(folder), answers)


def build(peer: Peer, case: Case, folder: Path, answers: TextIO) -> None:
    """Build the model; `built.json` is written last and says how long that took."""
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    built = peer.build(case, folder)
    seconds = time.monotonic() - start
    notes = None
    if built is not None:
        seconds, notes = (seconds if built.seconds is None else built.seconds) + built.earlier_seconds, built.notes
    (folder / "built.json").write_text(json.dumps({"seconds": seconds, "notes": notes}) + "\n", encoding="utf-8")


def predict(peer: Peer, case: Case, folder: Path, answers: TextIO) -> None:
    """Answer the labels of the test rows, one text at a time, the size, and the versions of the packages."""
    label_of = open_classifier(peer, case, folder)[0]
    labels = [label_of(text) for text in case.rows("test").texts]
    _answer(answers, labels=labels, size_mb=measure_size_mb(peer, folder), versions=read_versions(peer))


def serve(peer: Peer, case: Case, folder: Path, answers: TextIO) -> None:
    """Open the model and warm it up; then answer each line on standard input with the seconds of a block of calls."""
    from autocompress.benchmarking import pin_to_cores
    from autocompress.benchmarking.latency import block, block_calls, warm

    with pin_to_cores(case.threads):
        label_of, session = open_classifier(peer, case, folder)
        feeds, texts = case.feeds(), case.rows("test").texts[:TIMED_TEXTS]
        calls = 0 if session is None else block_calls(warm(session, feeds), BLOCK_SECONDS)
        _time_texts(label_of, texts)
        _answer(answers, has_session=session is not None)
        for line in sys.stdin:
            if line.strip() == "texts":
                _answer(answers, seconds=_time_texts(label_of, texts))
            else:
                assert session is not None
                _answer(answers, seconds=float(np.median(block(session, feeds, calls))))


def open_classifier(peer: Peer, case: Case, folder: Path) -> tuple[Callable[[Text], int], Any]:
    """Return a function from a text to its label, and the session behind it, which peers without layers lack."""
    model = peer.open_model(case, folder, case.threads)
    if peer.kind == "no transformer":
        return model, None
    from benchmarks.peer_recipes._transformers import encode, load_tokenizer

    tokenizer = load_tokenizer(case)
    return (lambda text: int(model.run(encode(tokenizer, text)).argmax(-1)[0])), model


def measure_size_mb(peer: Peer, folder: Path) -> float:
    """Return the megabytes of the files that the runtime loads."""
    files = {file for pattern in peer.model_files for file in folder.glob(pattern)}
    return sum(file.stat().st_size for file in files) / 1e6


def read_versions(peer: Peer) -> dict[str, str]:
    """Return the versions of the peer's packages."""
    versions = {}
    for package in peer.packages:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _time_texts(label_of: Callable[[Text], int], texts: list[Text]) -> float:
    """Return the median of the seconds from a text to its label, without the first ones."""
    seconds = []
    for text in texts:
        start = time.perf_counter()
        label_of(text)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[min(WARM_UP_TEXTS, len(seconds) // 6) :]))


def _reserve_output() -> TextIO:
    """Return standard output as a file of its own, and send what others print to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, **values: object) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
