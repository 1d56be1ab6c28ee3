"""Turn a trained candidate into an artifact: a folder that runs by itself, with a default session and the tokenizer."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from autocompress.core import registry
from autocompress.core.recipe import AFTER_RECOVERY, NEUTRAL, Recipe
from autocompress.formats.onnx_graph import tidy
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT, TargetFormat
from autocompress.formats.torch_export import TorchProgram
from autocompress.models.forward import Forward, attention_of
from autocompress.models.slicing import Candidate

Rows = Callable[[], Iterable[Mapping[str, np.ndarray]]]

VERSION = 1
OPSET = 20
CHECK_SHAPES = ((1, 8), (1, 32), (2, 17))  # (batch, tokens) of the outputs recorded in check.npz


def deploy(
    candidate: Candidate,
    tokenizer: Any,
    pairs: bool,
    runtime: str,
    folder: Path,
    rows: Rows = lambda: (),
) -> None:
    """Fill `folder` with the artifact of a candidate: model, config, tokenizer, recipe, and a check of its outputs.

    `rows` gives inputs of some training rows, which are asked for where the runtime wants activations' ranges.
    """
    module = registry.load("runtimes", runtime)
    typed = pairs and "token_type_ids" in tokenizer.model_input_names
    if module.TARGET_FORMAT.program:
        program = export_program(candidate, typed)
        _apply_bits(candidate.recipe, lambda technique, value: technique.apply_program(program, value))
        program.compile(folder / "model.pt2", module.TARGET_FORMAT.program)
    else:
        graph = export_graph(candidate, typed)
        tidy(graph)
        apply_bits(graph, candidate.recipe, module.TARGET_FORMAT, rows)
        onnx.save(graph, folder / "model.onnx")
    write_companions(candidate, tokenizer, pairs, folder, runtime)
    _write_check(candidate, module, folder)


def write_companions(
    candidate: Candidate, tokenizer: Any, pairs: bool, folder: Path, runtime: str | None = None
) -> None:
    """The files that stand beside a model in any form: config.json, the tokenizer's, recipe.json."""
    _write_config(candidate, folder)
    _write_tokenizer(tokenizer, pairs, folder)
    told = _provenance(candidate) | ({"runtime": runtime} if runtime else {})
    (folder / "recipe.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def export_graph(candidate: Candidate, pairs: bool) -> onnx.ModelProto:
    """The fp32 ONNX graph, inputs (batch, sequence) of any size; token_type_ids only where they tell pairs of texts apart."""
    frozen = _Frozen(candidate)
    with_types = pairs and frozen.forward_pass.embeddings.token_type is not None
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if with_types else [])]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter(
            "ignore"
        )  # the exporter in use is the older one: 0.5 s for it, 4 s for the newer, equal graphs
        torch.onnx.export(
            frozen.eval(),
            tuple(torch.ones(2, 9, dtype=torch.int64) for _ in names),
            buffer,  # type: ignore[arg-type]  # the older exporter writes to any binary file
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**{name: {0: "batch", 1: "sequence"} for name in names}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    graph.producer_name, graph.producer_version, graph.doc_string = "autocompress", "", ""
    return graph


def apply_bits(
    graph: onnx.ModelProto, recipe: Recipe, target_format: TargetFormat = ONNXRUNTIME_FORMAT, rows: Rows = lambda: ()
) -> None:
    """Apply the decisions that wait until after recovery to a graph."""
    if target_format.static and recipe.weight_bits == 8:
        ranges = registry.load("techniques", "weight_bits").activation_ranges(graph, rows())
        target_format = replace(target_format, ranges=ranges)
    _apply_bits(recipe, lambda technique, value: technique.apply(graph, value, target_format))


def export_program(candidate: Candidate, pairs: bool) -> TorchProgram:
    """The same forward pass as a PyTorch program."""
    frozen = _Frozen(candidate)
    inputs = 3 if pairs and frozen.forward_pass.embeddings.token_type is not None else 2
    return TorchProgram(frozen.eval(), inputs, len(frozen.forward_pass.position))


def _apply_bits(recipe: Recipe, apply: Callable[[ModuleType, Any], None]) -> None:
    """What waits until after recovery, in the order of the fields of `Recipe`."""
    for decision in AFTER_RECOVERY:
        value = recipe.as_dict()[decision]
        if value != NEUTRAL[decision]:
            apply(registry.load("techniques", decision), value)


class _Frozen(nn.Module):
    """The forward pass with everything that is constant computed beforehand.

    Query, key and value are one matrix, the scale of the scores is in the query's rows, and the first token type is in
    the position table.
    """

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.model = candidate.model
        self.forward_pass = _FrozenForward(candidate.model, candidate.family)
        self.constants = nn.ParameterList(self.forward_pass.constants())

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        return self.forward_pass(input_ids, attention_mask, token_type_ids).logits


class _FrozenForward(Forward):
    def __init__(self, model: Any, family: Any) -> None:
        super().__init__(model, family)
        self.joint = [self._joint_projection(index) for index in range(len(self.parts))]
        query = self.parts[-1].query  # apart from key and value, since in the last layer only position 0 asks
        scale = super().scaling(len(self.parts) - 1)
        self.first = (_constant(query.weight.T * scale), _constant(query.bias * scale))
        tables = self.embeddings
        position = tables.position.weight[tables.first_position :]
        self.position = _constant(position)
        self.position_and_type = (
            self.position if tables.token_type is None else _constant(position + tables.token_type.weight[0])
        )

    def constants(self) -> list[nn.Parameter]:
        """What was computed beforehand; the exporter must know it as parameters."""
        return [*(p for pair in self.joint for p in pair), *self.first, self.position, self.position_and_type]

    def _joint_projection(self, index: int) -> tuple[nn.Parameter, nn.Parameter]:
        """Weight (hidden, rows) and bias (rows,) of query, key and value; of key and value in the last layer."""
        parts = self.parts[index]
        linears = [(parts.query, super().scaling(index)), (parts.key, 1.0), (parts.value, 1.0)]
        linears = linears[1:] if index == len(self.parts) - 1 else linears
        weight = torch.cat([linear.weight * factor for linear, factor in linears]).T
        return _constant(weight), _constant(torch.cat([linear.bias * factor for linear, factor in linears]))

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        tables = self.embeddings
        places = torch.arange(input_ids.shape[1])
        position = self.position_and_type if token_type_ids is None else self.position
        hidden = tables.word(input_ids) + position[places]
        if token_type_ids is not None and tables.token_type is not None:
            hidden = hidden + tables.token_type(token_type_ids)
        hidden = tables.norm(hidden)
        return cast(Tensor, hidden if tables.projection is None else tables.projection(hidden))

    def scaling(self, index: int) -> float:
        return 1.0

    def project(self, index: int, hidden: Tensor, first_only: bool) -> tuple[Tensor, ...]:
        parts = self.parts[index]
        width = parts.heads * parts.head_size
        weight, bias = self.joint[index]
        joint = torch.split(hidden @ weight + bias, width, dim=-1)
        if first_only:
            return (hidden[:, :1] @ self.first[0] + self.first[1], *joint)
        return joint


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().contiguous().clone(), requires_grad=False)


def _provenance(candidate: Candidate) -> dict[str, Any]:
    return {
        "recipe": candidate.recipe.as_dict(),
        "kept_layers": candidate.kept_layers,
        "heads": candidate.heads,
        "neurons": candidate.neurons,
        "parameters": candidate.parameters,
    }


def _write_config(candidate: Candidate, folder: Path) -> None:
    config = candidate.model.config.to_dict()
    config["autocompress"] = {
        "heads": candidate.heads,
        "neurons": candidate.neurons,
        "attention": attention_of(candidate.model.config),
    }
    for private in ("_name_or_path", "transformers_version"):
        config.pop(private, None)
    config["_name_or_path"] = ""
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")


def _write_tokenizer(tokenizer: Any, pairs: bool, folder: Path) -> None:
    """Tokenizer files; for single texts it is told not to give token types, which the model then has no input for."""
    kept = [name for name in tokenizer.model_input_names if pairs or name != "token_type_ids"]
    before, tokenizer.model_input_names = tokenizer.model_input_names, kept
    tokenizer.backend_tokenizer.no_padding()  # some models' files ask for 128 tokens, always
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.model_input_names = before
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for private in ("name_or_path", "is_local", "local_files_only"):
        settings.pop(private, None)
    settings["model_input_names"] = kept
    if cut := tokenizer.backend_tokenizer.truncation:  # texts are cut where they were cut while measuring
        settings["model_max_length"] = cut["max_length"]
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_check(candidate: Candidate, runtime: Any, folder: Path) -> None:
    """Seeded random token ids and the logits they gave here: what `verify` compares with. Never a user's rows."""
    rng = np.random.default_rng(0)
    session = runtime.open_session(folder, threads=1)
    arrays: dict[str, np.ndarray] = {}
    for number, shape in enumerate(CHECK_SHAPES):
        ids = rng.integers(0, candidate.model.config.vocab_size, shape)
        ones = np.ones_like(ids)
        arrays[f"input_ids_{number}"] = ids
        arrays[f"logits_{number}"] = session.run({"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0})
    np.savez(folder / "check.npz", **arrays)  # type: ignore[arg-type]  # its stub takes the names for options
