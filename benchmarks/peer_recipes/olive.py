"""Microsoft Olive with its own search.

As in its example `bert_ptq_cpu.json`: conversion, the transformer optimizer and quantization, whose settings a joint TPE search
chooses by accuracy (here within 1 point) and latency. The pass that tunes the session is left out, because every model here
runs in a session of the device's threads. Accuracy comes from torchmetrics: the example's metric is downloaded.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._transformers import CALIBRATION_ROWS, INPUTS, open_onnx
from benchmarks.peers_cases import Case

SAMPLES = 20
MAX_DROP = 0.01


def build(case: Case, folder: Path) -> Built:
    """Search, and keep the best model that Olive names. ValueError where it names none."""
    from olive.workflows import run

    with tempfile.TemporaryDirectory() as temporary:
        output = run(make_config(case, Path(temporary)))
        best = output.get_best_candidate() if output.has_output_model() else None
        if best is None:
            raise ValueError("Olive names no model that reaches its goals")
        _copy_model(Path(best.model_path), folder)
        metrics = {name: value["value"] for name, value in (best.metrics_value or {}).items()}
    return Built(notes=", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))


def make_config(case: Case, folder: Path) -> dict[str, Any]:
    """Return Olive's configuration; its data and results are written into a folder."""
    teacher = _copy_teacher(case, folder)
    data_configs = [_data_config(case, split, teacher, folder) for split in ("train", "validation")]
    return {
        "input_model": {
            "type": "HfModel",
            "model_path": teacher,
            "task": "text-classification",
            "load_kwargs": {"attn_implementation": "eager"},
        },
        "systems": {
            "local_system": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": data_configs,
        "evaluators": {"evaluator": {"metrics": [_accuracy_metric(case), _latency_metric(case)]}},
        "passes": {
            "conversion": {"type": "OnnxConversion", "target_opset": 17},
            "transformers_optimization": {"type": "OrtTransformersOptimization", "model_type": "bert"},
            "quantization": {"type": "OnnxQuantization", "data_config": "train"},
        },
        "search_strategy": {
            "execution_order": "joint",
            "sampler": "tpe",
            "sampler_config": {"max_samples": SAMPLES, "seed": case.seed},
        },
        "evaluator": "evaluator",
        "host": "local_system",
        "target": "local_system",
        "cache_dir": str(folder / "cache"),
        "output_dir": str(folder / "output"),
    }


def _copy_teacher(case: Case, folder: Path) -> str:
    """Return a copy of the teacher whose tokenizer gives all inputs of the exported model."""
    teacher = folder / "teacher"
    shutil.copytree(case.teacher, teacher)
    file = teacher / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) | {"model_input_names": list(INPUTS)}
    file.write_text(json.dumps(settings), encoding="utf-8")
    return str(teacher)


def _data_config(case: Case, split: str, teacher: str, folder: Path) -> dict[str, Any]:
    """Write a split as JSON lines, and return how Olive reads it."""
    rows, file = case.rows(split), folder / f"{split}.jsonl"
    values = (
        {"text": text, "pair": other, "label": int(label)}
        for (text, other), label in zip(rows.texts, rows.labels, strict=True)
    )
    file.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return {
        "name": split,
        "type": "HuggingfaceContainer",
        "load_dataset_config": {
            "type": "huggingface_dataset",
            "data_name": "json",
            "data_files": str(file),
            "split": "train",
        },
        "pre_process_data_config": {
            "type": "huggingface_pre_process",
            "model_name": teacher,
            "input_cols": ["text", "pair"] if case.has_pairs else ["text"],
            "label_col": "label",
            "max_length": case.max_tokens,
            "padding": False,
            **({"max_samples": CALIBRATION_ROWS} if split == "train" else {}),
        },
        "post_process_data_config": {"type": "text_classification_post_process"},
        "dataloader_config": {"type": "default_dataloader", "batch_size": 1},
    }


def _accuracy_metric(case: Case) -> dict[str, Any]:
    goal = {"type": "max-degradation", "value": MAX_DROP}
    options = {"task": "multiclass", "num_classes": case.labels}
    return {
        "name": "accuracy",
        "type": "accuracy",
        "data_config": "validation",
        "sub_types": [{"name": "accuracy_score", "priority": 1, "metric_config": options, "goal": goal}],
    }


def _latency_metric(case: Case) -> dict[str, Any]:
    session = {"session_options": {"intra_op_num_threads": case.threads}}
    return {
        "name": "latency",
        "type": "latency",
        "data_config": "validation",
        "sub_types": [{"name": "avg", "priority": 2, "goal": {"type": "percent-min-improvement", "value": 0.1}}],
        "user_config": {"inference_settings": {"onnx": session}},
    }


def _copy_model(path: Path, folder: Path) -> None:
    """Copy an ONNX file, with its weights beside it, as model.onnx."""
    import onnx

    file = path if path.is_file() else next(path.glob("*.onnx"))
    onnx.save(onnx.load(file), folder / "model.onnx")


PEER = Peer(
    title="Olive, its own search",
    kind="training-free",
    environment="olive",
    packages=("olive-ai", "onnxruntime"),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
