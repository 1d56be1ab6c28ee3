"""A device with an agent (a process on this machine), and models for it: valid and hostile ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autocompress.benchmarking.agent.client import RemoteDevice

TOKEN = "a token for tests only"
INPUTS = ("input_ids", "attention_mask")
ROWS = [np.arange(1, 1 + count) for count in (3, 5, 5, 9, 12)]


@dataclass
class RunningAgent:
    """An agent in a process of its own, and the clients that are connected to it."""

    url: str
    process: subprocess.Popen[str]
    clients: ExitStack = field(default_factory=ExitStack)

    def connect(self, token: str = TOKEN, **options: Any) -> RemoteDevice:
        return self.clients.enter_context(RemoteDevice(self.url, token, patience=30.0, **options))


@contextmanager
def start_agent(folder: Path, *options: str, port: int = 0) -> Iterator[RunningAgent]:
    """Run an agent until the end of the `with` block."""
    command = [sys.executable, "-m", "autocompress", "agent", "--port", str(port), "--folder", str(folder), *options]
    environment = {**os.environ, "AUTOCOMPRESS_TOKEN": TOKEN}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("agent: "), line + process.stderr.read()
        running = RunningAgent(line.removeprefix("agent: ").strip(), process)
        with running.clients:
            yield running
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def feeds(batch: int, rows: Sequence[np.ndarray] = ROWS) -> list[dict[str, np.ndarray]]:
    """Return batches of rows, each padded to its longest row."""
    batches = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        shape = (len(part), max(map(len, part)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for index, row in enumerate(part):
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
        batches.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids})
    return batches


def write_model(folder: Path, seed: int = 0, rows: int = 64) -> Path:
    """Write a model with three labels: the sum of looked-up rows, times a matrix."""
    rng = np.random.default_rng(seed)
    tensors = {"table": rng.normal(size=(rows, 16)), "matrix": rng.normal(size=(16, 3))}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["looked_up"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["looked_up", "column"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "first"], ["summed"], keepdims=0),
        helper.make_node("MatMul", ["summed", "matrix"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in INPUTS],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()]
        + [numpy_helper.from_array(np.array([axis]), name) for name, axis in (("last", 2), ("first", 1))],
    )  # fmt: skip
    return save(graph, folder)


def save(graph: onnx.GraphProto, folder: Path) -> Path:
    """Write a model of one graph."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def hostile(kind: str, folder: Path) -> onnx.ModelProto:
    """Return a model that the agent must reject; `kind` is a key of `HOSTILE`."""
    model = onnx.load_from_string(write_model(folder).read_bytes())
    tensor = model.graph.initializer[0]
    if kind == "external data":
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
    elif kind == "absurd shape":
        tensor.dims[:] = [1 << 30, 1 << 20]
    elif kind == "negative shape":
        tensor.dims[:] = [-1, 16]
    elif kind == "graph in a graph":
        inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    elif kind == "operator":
        model.graph.node.append(helper.make_node("StringNormalizer", ["x"], ["y"]))
    elif kind == "foreign operator":
        model.graph.node.append(helper.make_node("Gather", ["x"], ["y"], domain="evil"))
    elif kind == "function":
        node = helper.make_node("Identity", ["x"], ["y"])
        model.functions.append(helper.make_function("evil", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 20)]))
    return model


HOSTILE = {  # kind -> what the reason of the rejection matches
    "external data": "stored in another file",
    "absurd shape": "claims the shape",
    "negative shape": "claims the shape",
    "graph in a graph": "graphs within graphs|the operator If",
    "operator": "the operator StringNormalizer",
    "foreign operator": "the operator evil.Gather",
    "function": "functions",
}
