"""Export a model as a PyTorch program: a graph of tensor operations for inputs of any size, compiled ahead of time.

Deployment to the runtimes `torch` and `torch_cuda` edits such a program, as it edits an `OnnxGraph` for the others.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from autocompress.core.errors import AutocompressError

MOST_ROWS = 65536
Replacement = tuple[Callable[..., Any], tuple[Any, ...]]  # a function and its arguments
INPUT_CHECKS = ("_guards_fn", "_assert_tensor_metadata")  # of each call; a session always passes valid inputs
INDUCTOR_SETTINGS = {
    "freezing": True,  # packs matrices beforehand, which halves the time of a pass
    "cpp.dynamic_threads": True,  # the number of threads is set at run time
    "cpp.enable_kernel_profile": True,  # a profile names the kernels
    "compile_threads": 1,
}
PRODUCTS = (torch.ops.aten.linear.default, torch.ops.aten.matmul.default)


class TorchProgram:
    """A traced module: inputs (batch, sequence) int64, output logits (batch, labels)."""

    def __init__(self, module: nn.Module, inputs: int, most_tokens: int) -> None:
        self._inputs, self._most_tokens = inputs, most_tokens
        self._module = self._trace(module)
        for node in list(self._module.graph.nodes):
            if any(name in str(node.target) for name in INPUT_CHECKS):
                self._module.graph.erase_node(node)

    def read_constant(self, node: Any) -> Tensor | None:
        """Return the value of a node that is a weight; None for any other node."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        value: Any = self._module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value.detach() if isinstance(value, Tensor) else None

    def read_weight(self, node: fx.Node) -> Tensor | None:
        """Return the constant (rows, columns) that a node multiplies its first argument by; None for any other node."""
        if node.target not in PRODUCTS:
            return None
        weight = self.read_constant(node.args[1])
        if weight is None or weight.ndim != 2:
            return None
        return weight.T if node.target is PRODUCTS[0] else weight

    def rewrite(self, change: Callable[[fx.Node], Replacement | None]) -> None:
        """Replace each node by the call that `change` returns; None keeps it. Tensors among the arguments become weights."""
        graph = self._module.graph
        for node in list(graph.nodes):
            replacement = change(node) if node.op == "call_function" else None
            if replacement is None:
                continue
            function, values = replacement
            with graph.inserting_before(node):
                arguments = [
                    self._add_weight(f"{node.name}_{index}", value) if isinstance(value, Tensor) else value
                    for index, value in enumerate(values)
                ]
                node.replace_all_uses_with(graph.call_function(function, tuple(arguments)))
            graph.erase_node(node)

    def run(self, *inputs: Tensor) -> Tensor:
        """Return the output of the program without compiling it to native code."""
        self._module.recompile()
        with torch.no_grad():
            output: Tensor = self._module(*inputs)
        return output

    def compile(self, path: Path, device: str = "cpu") -> None:
        """Compile the program to a package that PyTorch runs without tracing or compiling (AOTInductor).

        The package holds native code for this processor. AutocompressError where there is no C++ compiler.
        """
        self._module.graph.eliminate_dead_code()
        if device == "cpu":
            torch._inductor.cpu_vec_isa.pick_vec_isa()  # trial compilations of 12 s, cached for the next process
        module = fx.GraphModule(self._module, self._module.graph).to(device)
        with _compiler_cache() as folder, torch.no_grad():
            exported = self._export(module, device)
            for node in exported.graph.nodes:
                node.meta.pop("stack_trace", None)  # the package would contain source lines and their paths
            try:
                torch._inductor.aoti_compile_and_package(
                    exported, package_path=str(path), inductor_configs=INDUCTOR_SETTINGS
                )
                _anonymize(path, [folder, str(Path(torch.__file__).parents[1])])
            except Exception as error:
                if "compiler" not in str(error).lower():
                    raise
                raise AutocompressError(
                    "PyTorch found no working C++ compiler, which the runtime torch needs; install g++, or use another runtime"
                ) from error

    def _trace(self, module: nn.Module) -> fx.GraphModule:
        with torch.no_grad():
            traced = self._export(module, "cpu").module()
        assert isinstance(traced, fx.GraphModule)
        return traced

    def _export(self, module: nn.Module, device: str) -> torch.export.ExportedProgram:
        """Trace a module on a small batch; both dimensions stay dynamic."""
        batch = torch.export.Dim("batch", min=1, max=MOST_ROWS)
        sequence = torch.export.Dim("sequence", min=1, max=self._most_tokens)
        example = tuple(torch.ones(2, 9, dtype=torch.int64, device=device) for _ in range(self._inputs))
        sizes = tuple({0: batch, 1: sequence} for _ in example)
        return torch.export.export(module, example, dynamic_shapes=sizes, strict=False)

    def _add_weight(self, name: str, value: Tensor) -> fx.Node:
        self._module.register_buffer(name, value.contiguous())
        return self._module.graph.get_attr(name)


def _anonymize(package: Path, folders: Sequence[str]) -> None:
    """Remove the names of this machine's folders from a package.

    Its source files contain the compiler's command line, and its native code contains paths for error messages.
    """
    with zipfile.ZipFile(package) as before:
        kept = {
            entry.filename: before.read(entry) for entry in before.infolist() if not entry.filename.endswith(".cpp")
        }
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as after:
        for name, content in kept.items():
            anonymous = content
            for folder in map(str.encode, folders):
                anonymous = anonymous.replace(folder, b"." * len(folder))
            after.writestr(zipfile.ZipInfo(name), anonymous)  # without a date: equal models are equal files


@contextmanager
def _compiler_cache() -> Iterator[str]:
    """Let the compiler work in a temporary folder, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["TORCHINDUCTOR_CACHE_DIR"]
            else:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
