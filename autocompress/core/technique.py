"""What a compression decision says of itself; nobody else lists decisions.

Each file `techniques/FOLDER/NAME.py` exports one object, `TECHNIQUE`. It is read by programs that must answer at once: it
imports neither torch nor numpy, and its hooks, which the stages in `techniques/stages.py` declare, import inside their bodies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Literal

from autocompress.core.domain import Anatomy, Domain
from autocompress.core.registry import Registry
from autocompress.core.scalar import Scalar

Stage = Literal["data", "structure", "training", "export", "inference"]
STAGES: tuple[Stage, ...] = ("data", "structure", "training", "export", "inference")  # the order of application
TRAINED_STAGES = STAGES[:3]  # what trained weights depend on


class Technique(ABC):
    """One compression decision. Subclasses for each stage, with its hooks, are in `techniques/stages.py`."""

    name: str  # of its file: the key in a study file, the Optuna parameter, the key in JSON, the column of `results`
    stage: Stage
    order: int = 0  # among the decisions of its stage; then by name
    version: int = 1  # raise it when the code builds another model from the same value
    domain: Domain

    reads: tuple[str, ...] = ()
    """Earlier decisions: `applies` gets their values. Weights depend on what an active training decision reads."""
    is_part_of_read: bool = False
    """Whether tables and the ablation count it as a part of the decision that it reads."""
    when_missing: str = ""
    """The error where the decision could apply, but a space does not name it; empty: it is neutral then."""
    when_useless: str = ""
    """The error where a space names the decision, but it can never apply."""

    latency_role: Literal["kernel", "size"] | None = None
    """How predicted latencies depend on it: each value has its own kernels, or the cost grows with 1 ÷ value; null: not."""
    adds_texts: bool = False
    """Whether it only changes which texts a candidate learns from, so that an untrained candidate does not depend on it."""
    is_keyed_when_neutral: bool = False
    """Whether keys of separately trained weights contain its neutral value, as they did in the first version."""

    @abstractmethod
    def neutral(self, anatomy: Anatomy | None) -> Scalar:
        """Return the value that changes nothing.

        `anatomy` is null where the teacher is not known; keys of recipes leave out the value that belongs to null. A neutral
        value that does not depend on the anatomy keeps the recipes of earlier studies equal to new ones.
        """

    @abstractmethod
    def describe(self, value: Scalar) -> str:
        """Describe a value in a few words for tables, e.g. `−67% heads`; an empty text for one that goes without saying."""

    def applies(self, read: Mapping[str, Scalar]) -> bool:
        """Whether the decision applies, given the values of the decisions in `reads`; otherwise its value is null."""
        return True

    def first_value(self, anatomy: Anatomy) -> Scalar:
        """Return the value in which other decisions are tried first, where this one needs no training."""
        return self.neutral(anatomy)

    def medium_value(self, anatomy: Anatomy) -> Scalar:
        """Return a middling value, with which the cost of a training step is measured."""
        return self.neutral(anatomy)

    def subnet_values(self, choices: Sequence[Scalar]) -> tuple[Scalar, ...]:
        """Return the choices that the super-net is trained in; empty where it only knows the neutral value."""
        return ()

    @property
    def is_trained(self) -> bool:
        """Whether the weights of a candidate depend on the decision."""
        return self.stage in TRAINED_STAGES

    def is_active(self, value: Scalar) -> bool:
        """Whether a value changes anything."""
        return value is not None and value != self.neutral(None)


TECHNIQUES: Registry[Technique] = Registry("techniques", "TECHNIQUE", Technique)


@cache
def ordered_techniques() -> Mapping[str, Technique]:
    """Return all techniques by name, in the order of application: by stage, `order` and name."""
    entries = TECHNIQUES.entries().values()
    by_stage = sorted(entries, key=lambda entry: (STAGES.index(entry.stage), entry.order, entry.name))
    return MappingProxyType({entry.name: entry for entry in by_stage})


def active_techniques(values: Mapping[str, Scalar]) -> dict[str, Technique]:
    """Return the techniques whose values in a recipe change something, in the order of application."""
    return {name: entry for name, entry in ordered_techniques().items() if entry.is_active(values[name])}


def read_values(technique: Technique, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the values of the decisions that a technique reads."""
    return {name: values[name] for name in technique.reads}


def without_inapplicable(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the values with null for every decision that does not apply."""
    applicable = dict(values)
    for name, technique in ordered_techniques().items():
        if not technique.applies(read_values(technique, applicable)):
            applicable[name] = None
    return applicable
