"""The hooks of a technique, by the stage in which it changes a candidate. Each hook imports what it needs inside its body."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from autocompress.core.domain import Anatomy, WholeNumbers
from autocompress.core.errors import UsageError
from autocompress.core.scalar import Scalar
from autocompress.core.technique import Technique, active_techniques

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.random import Generator
    from tokenizers import Tokenizer
    from torch import Tensor, nn

    from autocompress.formats.target_format import TargetFormat
    from autocompress.formats.torch_export import TorchProgram
    from autocompress.models.candidate import Candidate
    from autocompress.models.families import Family
    from autocompress.models.forward import Output
    from autocompress.models.importance import Importance
    from autocompress.techniques.probing import RuntimeProbe
    from autocompress.techniques.structure import Structure

Kind = TypeVar("Kind", bound=Technique)


class DataTechnique(Technique):
    """Changes how texts become tokens. The candidate is trained, scored, timed and exported with its own tokenizer."""

    stage = "data"
    sample: str = ""
    """A text that every active value changes, unless the teacher's tokenizer does so already; empty: that is not checked."""

    @abstractmethod
    def edit_tokenizer(self, tokenizer: Tokenizer, value: Scalar) -> None:
        """Edit a copy of the teacher's tokenizer in place: its normalizer, pre-tokenizer, model or post-processor.

        Every id that it gives must be a row of the teacher's word table.
        """


class StructureTechnique(Technique):
    """Changes which parts the candidate has, before it is trained."""

    stage = "structure"

    def check_family(self, value: Scalar, family: Family, place: str) -> None:
        """Raise UsageError, which `place` begins, where a value is undefined with the models of a family."""
        return  # most values are defined with every family

    def resolve(self, value: Scalar, importance: Importance, structure: Structure) -> Structure:
        """Return the structure that follows from a value, given what the decisions before this one left.

        What is neither a layer, a head nor a neuron goes into `structure.details` under the technique's name.
        """
        return structure

    def build(self, candidate: Candidate, value: Scalar, structure: Structure) -> None:
        """Change the rest of a candidate in place; its layers, heads and neurons are as in `structure` already."""


@dataclass(frozen=True)
class TrainingStep:
    """One batch of a candidate's training: what an added loss is computed from."""

    batch: Mapping[str, Tensor]  # input_ids and attention_mask (batch, sequence), labels (units,) (, token_type_ids)
    output: Output  # of the candidate
    target_outputs: Tensor  # of the teacher (units, width), as `tasks.unit_outputs` returns them
    target_hidden: Tensor  # of the teacher (batch, kept layers, 2, hidden): position 0 and the mean over the tokens


AddedLoss = Callable[[TrainingStep], "Tensor"]  # a scalar


class TrainingTechnique(Technique):
    """Changes how the candidate is trained: losses, fake quantization, schedules."""

    stage = "training"

    @abstractmethod
    def train(
        self, candidate: Candidate, value: Scalar, read: Mapping[str, Scalar]
    ) -> AbstractContextManager[AddedLoss | None]:
        """Return a context that a training of the candidate runs in; it yields a term to add to the loss, or null.

        `read` holds the values of the decisions in `reads`. At the end the candidate must have the modules it began with.
        """


@dataclass(frozen=True)
class Vocabulary:
    """What is known of the tokens of the texts that are copied."""

    is_word: np.ndarray  # (vocabulary,): whether a token is a word or a part of one; others stay where they are
    nearest: Callable[[], np.ndarray]  # -> (vocabulary, neighbours): the tokens with the nearest embeddings


class AugmentationTechnique(Technique):
    """Adds texts to learn from: changed copies of the study's texts, which the teacher labels.

    A value is the number of copies of each row of train. Copies that are near duplicates of rows that models are judged on are
    left out.
    """

    stage, adds_texts = "training", True
    domain = WholeNumbers(least=0)

    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        return 0

    def describe(self, value: Scalar) -> str:
        return f"{value}× {self.name.replace('_', ' ')}" if self.is_active(value) else ""

    @abstractmethod
    def change(self, row: np.ndarray, vocabulary: Vocabulary, draws: Generator) -> np.ndarray:
        """Return a changed copy of a text, whose token ids, with special tokens, are `row` (tokens,).

        The copy is (tokens, 2): the place in `row` whose token type each of its tokens has, and the token's id.
        """


class RuntimeDependent(Technique):
    """A technique whose values not every runtime can run."""

    @abstractmethod
    def supported(self, probe: RuntimeProbe) -> tuple[Scalar, ...] | None:
        """Return the values that the runtime of a probe can run; null where it can run all."""


@dataclass(frozen=True)
class ExportContext:
    """What a graph is exported for."""

    target_format: TargetFormat
    rows: Callable[[], Iterable[Mapping[str, np.ndarray]]]  # inputs of some training rows, for ranges of activations


class ExportTechnique(RuntimeDependent):
    """Changes how the trained weights are stored and multiplied. Each value needs kernels of the runtime."""

    stage = "export"

    @abstractmethod
    def apply(self, graph: onnx.ModelProto, value: Scalar, context: ExportContext) -> None:
        """Change an ONNX graph in place; UnsupportedPrecision where the target format cannot express the value."""

    @abstractmethod
    def apply_program(self, program: TorchProgram, value: Scalar) -> None:
        """Change a PyTorch program in place; UnsupportedPrecision where PyTorch cannot express the value."""

    def supported(self, probe: RuntimeProbe) -> tuple[Scalar, ...] | None:
        """Return the values of a listed domain in which a small graph gives nearly the outputs of the neutral one."""
        values = self.domain.values
        return tuple(value for value in values if not self.is_active(value) or probe.works(self, value)) or None

    def check_stored(self, value: Scalar) -> None:
        """Raise UsageError where a value is neutral or not in the domain: no weight is stored so."""
        if value not in self.domain.values or not self.is_active(value):
            raise UsageError(f"{self.name}: {value} is not one of {self.domain.describe()}")

    def product_type(self, value: Scalar) -> str | None:
        """Return the number type of products in a PyTorch program, where its profile does not show it."""
        return None


class InferenceTechnique(Technique):
    """Changes what the exported model computes, e.g. where it stops early."""

    stage = "inference"

    @abstractmethod
    def wrap(self, module: nn.Module, value: Scalar) -> nn.Module:
        """Return the module to export, given the candidate's forward pass as a module.

        Both take input_ids and attention_mask (and token_type_ids for pairs), each (batch, sequence) int64, and return logits
        (batch, labels).
        """


def active_of(values: Mapping[str, Scalar], kind: type[Kind]) -> list[tuple[Kind, Scalar]]:
    """Return the techniques of a kind whose values in a recipe change something, in the order of application."""
    return [(entry, values[name]) for name, entry in active_techniques(values).items() if isinstance(entry, kind)]
