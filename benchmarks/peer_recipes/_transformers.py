"""What several peers share: token ids, the stock ONNX export of a transformers model, and onnxruntime's dynamic int8."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers_cases import Case, Text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
CALIBRATION_ROWS = 300  # NNCF's default, and more than the other quantizers ask for
OPSET = 17
Feed = dict[str, np.ndarray]


def load_tokenizer(case: Case) -> Tokenizer:
    """Return the teacher's tokenizer; it cuts texts to the study's `max_tokens`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(case.teacher / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(case.max_tokens)
    return tokenizer


def encode(tokenizer: Tokenizer, text: Text) -> Feed:
    """Return the model's inputs for one text or pair, each (1, tokens)."""
    encoded = tokenizer.encode(*text)
    values = (encoded.ids, encoded.attention_mask, encoded.type_ids)
    return {name: np.array([value], np.int64) for name, value in zip(INPUTS, values, strict=True)}


def calibration_feeds(case: Case) -> list[Feed]:
    """Return the inputs of some training rows, drawn by the case's seed."""
    texts, tokenizer = case.rows("train").texts, load_tokenizer(case)
    chosen = np.random.default_rng(case.seed).permutation(len(texts))[:CALIBRATION_ROWS]
    return [encode(tokenizer, texts[row]) for row in chosen]


def measure_accuracy(session: Any, case: Case, split: str) -> float:
    """Return the fraction of a split's rows that a session labels correctly."""
    rows, tokenizer = case.rows(split), load_tokenizer(case)
    predicted = [int(session.run(encode(tokenizer, text)).argmax(-1)[0]) for text in rows.texts]
    return float((np.array(predicted) == rows.labels).mean())


def load_model(folder: Path) -> Any:
    """Load a transformers classifier with the attention that exporters and graph optimizers recognize."""
    import transformers

    return transformers.AutoModelForSequenceClassification.from_pretrained(
        str(folder), attn_implementation="eager", local_files_only=True
    ).eval()


def return_logits(model: Any) -> Any:
    """Return a module that takes the inputs in their order and returns the logits alone."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
        ) -> torch.Tensor:
            logits: torch.Tensor = self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).logits
            return logits

    return Logits().eval()


def export_onnx(model: Any, file: Path) -> None:
    """Export a transformers classifier by `torch.onnx.export`, with dynamic batch and length."""
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    example = tuple(torch.ones(1, 9, dtype=torch.int64) for _ in INPUTS)
    axes = {**{name: {0: "batch", 1: "sequence"} for name in INPUTS}, "logits": {0: "batch"}}
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        torch.onnx.export(return_logits(model), example, str(file), dynamo=False, input_names=list(INPUTS),
                          output_names=["logits"], dynamic_axes=axes, opset_version=OPSET)  # fmt: skip


def quantize_dynamically(source: Path, target: Path) -> None:
    """Write the dynamic int8 form of an ONNX file, after onnxruntime's own preprocessing, with scales per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(str(prepared), str(target), weight_type=QuantType.QInt8, per_channel=True)


def open_onnx(case: Case, folder: Path, threads: int) -> Any:
    """Open a folder's model.onnx in a default session of onnxruntime."""
    from autocompress.runtimes.onnxruntime import OnnxSession

    return OnnxSession(str(folder / "model.onnx"), threads)


def open_openvino(case: Case, folder: Path, threads: int) -> Any:
    """Open a folder's model.xml in OpenVINO with its defaults."""
    from autocompress.runtimes.openvino import OpenvinoSession

    return OpenvinoSession(folder / "model.xml", threads)


def copy_files(source: Path, folder: Path, names: Sequence[str] = ()) -> None:
    """Copy a folder into another; with `names` only those files."""
    if not names:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    for name in names:
        shutil.copy2(source / name, folder / name)
