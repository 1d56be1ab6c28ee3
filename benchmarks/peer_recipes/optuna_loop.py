"""A plain Optuna loop, as a user would write it, for as long as our search ran (without fine-tuning the teacher).

Each trial keeps some layers of the teacher and some neurons of each, distils the teacher into that on train and the unlabelled
texts, exports it, and measures accuracy on validation and latency. The first trial keeps everything, untrained, in int8. The
sampler is TPE with two objectives. The model is the fastest trial within 1 point of the teacher on validation.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._training import encode_rows, predict_logits, train
from benchmarks.peer_recipes._transformers import (
    export_onnx,
    load_model,
    measure_accuracy,
    open_onnx,
    quantize_dynamically,
)
from benchmarks.peers_cases import Case

if TYPE_CHECKING:
    import optuna

MAX_DROP = 0.01
KEPT_NEURONS = (1.0, 0.5, 0.25, 0.125)
BLOCKS = 5


def build(case: Case, folder: Path) -> Built:
    """Search, and keep the fastest model within the drop. ValueError where no trial is within it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = _Objective(case, folder / "trials")
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=case.seed))
    study.enqueue_trial(objective.first)
    study.optimize(objective, timeout=case.search_seconds)
    done = {trial.number: tuple(trial.values) for trial in study.trials if trial.values}
    number = choose_trial(done, objective.goal)
    best = study.trials[number]
    shutil.copy2(folder / "trials" / str(number) / "model.onnx", folder / "model.onnx")
    shutil.rmtree(folder / "trials")
    return Built(notes=f"trial {number} of {len(study.trials)}: {best.params}, validation {100 * best.values[0]:.1f}")


def choose_trial(done: dict[int, tuple[float, ...]], goal: float) -> int:
    """Return the fastest trial (accuracy, seconds) that reaches the goal. ValueError where none does."""
    reaching = {number: seconds for number, (accuracy, seconds) in done.items() if accuracy >= goal}
    if not reaching:
        raise ValueError(f"none of {len(done)} trials is within 1 point of the teacher on validation")
    return min(reaching, key=reaching.__getitem__)


class _Objective:
    """One trial: build, distil, export, measure."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case, self._folder = case, folder
        labelled = case.rows("train").texts
        texts = list(dict.fromkeys([*labelled, *case.rows("unlabelled").texts]))
        self._epoch = len(labelled) / len(texts)  # every epoch learns as many rows as are labelled
        self._inputs = encode_rows(case, texts)
        teacher = load_model(case.teacher)
        self._teacher_logits = predict_logits(teacher, self._inputs)
        validation = case.rows("validation")
        predicted = predict_logits(teacher, encode_rows(case, validation.texts)).argmax(-1).numpy()
        layers = teacher.config.num_hidden_layers
        self.first = {"layers": layers, "neurons": 1.0, "epochs": 0, "learning_rate": 1e-4, "int8": True}
        self.goal = float((predicted == validation.labels).mean()) - MAX_DROP

    def __call__(self, trial: optuna.Trial) -> tuple[float, float]:
        model = load_model(self._case.teacher)
        keep_layers(model, trial.suggest_int("layers", 1, model.config.num_hidden_layers))
        keep_neurons(model, trial.suggest_categorical("neurons", KEPT_NEURONS))
        train(
            model,
            self._inputs,
            None,
            epochs=self._epoch * trial.suggest_int("epochs", 0, 6),
            learning_rate=trial.suggest_float("learning_rate", 5e-5, 5e-4, log=True),
            batch=32,
            seed=self._case.seed,
            teacher_logits=self._teacher_logits,
        )
        folder = self._folder / str(trial.number)
        export_onnx(model, folder / "fp32.onnx")
        if trial.suggest_categorical("int8", (True, False)):
            quantize_dynamically(folder / "fp32.onnx", folder / "model.onnx")
            (folder / "fp32.onnx").unlink()
        else:
            (folder / "fp32.onnx").rename(folder / "model.onnx")
        session = open_onnx(self._case, folder, self._case.threads)
        return measure_accuracy(session, self._case, "validation"), self._time(session)

    def _time(self, session: Any) -> float:
        """Return the seconds of a call: the fastest of a few blocks."""
        from autocompress.benchmarking.latency import block, block_calls, warm

        feeds = self._case.feeds()
        calls = block_calls(warm(session, feeds), 0.1)
        return float(min(np.median(block(session, feeds, calls)) for _ in range(BLOCKS)))


def keep_layers(model: Any, layers: int) -> None:
    """Keep layers at equal distances, the last one among them."""
    import torch

    all_layers = model.bert.encoder.layer
    kept = np.linspace(0, len(all_layers) - 1, layers).round().astype(int) if layers > 1 else [len(all_layers) - 1]
    model.bert.encoder.layer = torch.nn.ModuleList(all_layers[int(number)] for number in kept)
    model.config.num_hidden_layers = layers


def keep_neurons(model: Any, fraction: float) -> None:
    """Keep the neurons of each layer whose weights are largest."""
    import torch

    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            inner, outer = layer.intermediate.dense, layer.output.dense
            size = int(fraction * inner.out_features)
            norms = inner.weight.norm(dim=1) * outer.weight.norm(dim=0)
            kept = norms.topk(size).indices.sort().values
            inner.weight, inner.bias = _parameter(inner.weight[kept]), _parameter(inner.bias[kept])
            outer.weight = _parameter(outer.weight[:, kept])
            inner.out_features = outer.in_features = size


def _parameter(values: Any) -> Any:
    import torch

    return torch.nn.Parameter(values.clone())


PEER = Peer(
    title="plain Optuna loop",
    kind="trained",
    packages=("optuna", "torch", "onnxruntime"),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
