"""The search space: which values each decision may take, and the recipes that follow from them.

Every decision is a short list of values, so a space is finite: its recipes can be counted, compared and enqueued. All
free decisions are always suggested (a flat space is what samplers model best); `canonical` then drops what does not
apply, so that equal candidates are equal recipes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from math import isfinite, log2, prod
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from autocompress.config import spaces
from autocompress.config.messages import available
from autocompress.core.errors import UsageError
from autocompress.core.recipe import AFTER_RECOVERY, DECISIONS, NEUTRAL, Recipe, Scalar

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Space", "Trial", "resolve_space", "spaces"]

MOST_VALUES = 1000  # of one decision; more is a slip of the pen in `step`
SPARSITIES = HEADS, NEURONS = ("head_sparsity", "ffn_sparsity")
LOCAL = "local"  # the attention that has a window
LEAST = {"attention_window": 2}  # whole numbers begin at 1 elsewhere


class Trial(Protocol):
    """What is used of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float: ...


@dataclass(frozen=True)
class Space:
    """For every decision, in the order of application, the values it may take; a single value is pinned."""

    layers: int  # of the teacher
    choices: Mapping[str, tuple[Scalar, ...]]

    @property
    def free(self) -> tuple[str, ...]:
        """The decisions that are searched."""
        return tuple(name for name, values in self.choices.items() if len(values) > 1)

    def suggest(self, trial: Trial) -> Recipe:
        """Ask an Optuna trial for every free decision, under its own name and with its true values."""
        return self.canonical({name: _suggest(trial, name, self.choices[name]) for name in self.free})

    def canonical(self, values: Mapping[str, Scalar]) -> Recipe:
        """The recipe of some values: absent ones filled in (the first choice), rounding errors removed, depth a number,
        and null what does not apply."""
        full = {name: _on_grid(values.get(name, choices[0]), choices) for name, choices in self.choices.items()}
        full["depth"] = self.layers if full["depth"] is None else full["depth"]
        if full["attention"] != LOCAL:
            full["attention_window"] = None
        return Recipe.from_dict(full)

    def contains(self, recipe: Recipe) -> bool:
        """Whether the recipe is canonical and made of this space's values."""
        values = recipe.as_dict()
        inactive = "attention_window" if recipe.attention != LOCAL else ""
        own = all(name == inactive or values[name] in choices for name, choices in self.choices.items())
        return own and self.canonical(values) == recipe

    def params(self, recipe: Recipe) -> dict[str, Scalar]:
        """The values for `study.enqueue_trial`: every free decision; where one does not apply, its first value."""
        if not self.contains(recipe):
            raise ValueError(f"the recipe is not in this space: {recipe}")
        values = recipe.as_dict()
        return {name: self.choices[name][0] if values[name] is None else values[name] for name in self.free}

    def size(self) -> int:
        """The number of different recipes."""
        windows = len(self.choices["attention_window"])
        attentions = sum(windows if attention == LOCAL else 1 for attention in self.choices["attention"])
        return attentions * prod(len(self.choices[name]) for name in self.choices if not name.startswith("attention"))

    def siblings(self, recipe: Recipe) -> list[Recipe]:
        """The other recipes of this space with the same structure: one recovery serves them all."""
        values = recipe.as_dict()
        bits = product(*(self.choices[name] for name in AFTER_RECOVERY))
        family = [Recipe.from_dict({**values, **dict(zip(AFTER_RECOVERY, pair, strict=True))}) for pair in bits]
        return [member for member in family if member != recipe]

    def usual_bits(self) -> dict[str, Scalar]:
        """The widths that a structure is first tried in, of those that are free: weights in what runs fastest, 8 bits or what
        is next to it, tables in the smallest, which costs hardly any time."""
        wanted = {"weight_bits": 8, "embedding_bits": 1}
        return {name: _nearest(name, self.choices[name], wanted[name]) for name in AFTER_RECOVERY if name in self.free}

    def draw(self, chance: Random) -> Recipe:
        """Any recipe, all values of a decision alike."""
        return self.canonical({name: chance.choice(choices) for name, choices in self.choices.items()})

    def smallest(self) -> Recipe:
        """What is left where most is removed, in full attention and all bits."""
        depth = min(int(value or self.layers) for value in self.choices["depth"])
        return Recipe(depth=depth, head_sparsity=max(self._numbers(HEADS)), ffn_sparsity=max(self._numbers(NEURONS)))

    def draw_structure(self, rng: Generator) -> Recipe:
        """Any depth of this space, with heads and neurons of the half that removes more, in full attention and all bits."""
        depth = int(rng.choice([int(value or self.layers) for value in self.choices["depth"]]))
        heads, neurons = (float(rng.choice(self._upper_half(name))) for name in SPARSITIES)
        return Recipe(depth=depth, head_sparsity=heads, ffn_sparsity=neurons)

    def _numbers(self, name: str) -> list[float]:
        return [float(value or 0) for value in self.choices[name]]

    def _upper_half(self, name: str) -> list[float]:
        numbers = sorted(self._numbers(name))
        return numbers[len(numbers) // 2 :]

    def initial_recipes(self) -> list[Recipe]:
        """At most 8 different recipes to try first: known good ones, each as near as this space comes to it."""
        return list(dict.fromkeys(self._nearest_to(start) for start in INITIAL_RECIPES))

    def _nearest_to(self, start: Mapping[str, Scalar]) -> Recipe:
        wanted = {**start, "depth": float(start["depth"] or 0) * self.layers}
        return self.canonical(
            {name: _nearest(name, choices, wanted.get(name)) for name, choices in self.choices.items()}
        )


def resolve_space(
    spec: Mapping[str, Any],
    layers: int,
    supported: Mapping[str, Sequence[Scalar]],
    place: str,
    runtime: str = "the runtime",
) -> Space:
    """The space that a mapping of the study file means for a teacher of `layers` layers.

    `supported` maps a decision to the values that `runtime` can run on this machine; a decision absent from it is bound
    by its own rule alone. A decision absent from `spec` (or empty) is pinned to neutral: depth to all layers. `place`
    begins the message of an error, e.g. `sst2.yaml: space`.
    """
    for name in spec:
        if name not in DECISIONS:
            raise UsageError(f"{place}: unknown decision {name!r}{available(name, DECISIONS)}")
    choices: dict[str, tuple[Scalar, ...]] = {}
    for name in DECISIONS:
        form, where = spec.get(name), f"{place}.{name}"
        if form is None:
            choices[name] = (layers if name == "depth" else NEUTRAL[name],)
            continue
        choices[name] = _choices(name, form, layers, where)
        for value in choices[name]:
            if value not in supported.get(name, choices[name]):
                runs = ", ".join(map(str, supported[name]))
                raise UsageError(f"{where}: {value} cannot be run; {runtime} here runs {runs}")
    _check_window(spec, choices, place)
    return Space(layers, choices)


def _choices(name: str, form: Any, layers: int, where: str) -> tuple[Scalar, ...]:
    """The values that a list, a range or a single value stands for."""
    if isinstance(form, Mapping):
        return _range(name, form, layers, where)
    items = list(form) if isinstance(form, (list, tuple)) else [form]
    if not items:
        raise UsageError(f"{where}: the list is empty; name at least one value, or remove the line")
    values = [_value(name, item, layers, where) for item in items]
    literal = [value for item, value in zip(items, values, strict=True) if item != "all"]
    if len(set(literal)) < len(literal) or items.count("all") > 1:
        raise UsageError(f"{where}: each value counts once, but got {items}")
    return tuple(dict.fromkeys(values))  # `all` may equal a number beside it


def _range(name: str, form: Mapping[str, Any], layers: int, where: str) -> tuple[Scalar, ...]:
    """`{low, high, step}`: low, low + step, … as far as high, which is included where the steps reach it."""
    if isinstance(NEUTRAL[name], str) or not {"low", "high"} <= form.keys() <= {"low", "high", "step"}:
        raise UsageError(
            f"{where}: a list, one value or, for numbers, {{low, high, step}} is needed, but got {dict(form)}"
        )
    low, high = (_value(name, form[key], layers, f"{where}.{key}") for key in ("low", "high"))
    assert isinstance(low, (int, float))  # only text decisions have other values
    assert isinstance(high, (int, float))
    step = form.get("step", 1 if float(low).is_integer() and float(high).is_integer() else None)
    if not _is_number(step) or step <= 0 or (isinstance(low, int) and not isinstance(step, int)):
        kind = "whole number" if isinstance(low, int) else "number"
        raise UsageError(f"{where}.step: a {kind} above 0 is needed, but got {step!r}")
    if low > high:
        raise UsageError(f"{where}: `low <= high` must hold, but got low {low} and high {high}")
    start, stride = Fraction(str(low)), Fraction(str(step))  # decimals as written: 3 × 0.1 is 0.3
    count = (Fraction(str(high)) - start) // stride + 1
    if count > MOST_VALUES:
        raise UsageError(f"{where}.step: at most {MOST_VALUES} values make sense, but steps of {step} give {count}")
    return tuple(type(low)(start + index * stride) for index in range(count))


def _value(name: str, item: Any, layers: int, where: str) -> Scalar:
    """One value of a decision, checked; the type of the neutral value says what kind of values a decision has."""
    neutral = NEUTRAL[name]
    if name == "depth" and item == "all":
        return layers
    if isinstance(neutral, str):
        if not isinstance(item, str):
            raise UsageError(f"{where}: a name is needed, but got {item!r}")
        return item
    if isinstance(neutral, float):
        if not _is_number(item) or not 0 <= item < 1:
            raise UsageError(f"{where}: `0 <= {name} < 1` must hold (the fraction removed), but got {item!r}")
        return float(item)
    if not isinstance(item, int) or isinstance(item, bool):
        raise UsageError(f"{where}: a whole number is needed{' (or all)' * (name == 'depth')}, but got {item!r}")
    least, most = LEAST.get(name, 1), layers if name == "depth" else item
    if not least <= item <= most:
        rule = f"1 <= depth <= {layers}, the teacher's layers," if name == "depth" else f"{name} >= {least}"
        raise UsageError(f"{where}: {rule} must hold, but got {item}")
    return item


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _check_window(spec: Mapping[str, Any], choices: Mapping[str, tuple[Scalar, ...]], place: str) -> None:
    local, window = LOCAL in choices["attention"], spec.get("attention_window") is not None
    if local and not window:
        raise UsageError(f"{place}.attention: local attention needs a window; add e.g. attention_window: [32, 64]")
    if window and not local:
        raise UsageError(
            f"{place}.attention_window: only local attention has a window; add local to attention or remove it"
        )


def _suggest(trial: Trial, name: str, values: tuple[Scalar, ...]) -> Scalar:
    """Evenly spaced numbers as a stepped range, so that samplers know their order; all else as categories."""
    numbers = sorted(value for value in values if isinstance(value, (int, float)))
    steps = {Fraction(str(after)) - Fraction(str(before)) for before, after in pairwise(numbers)}
    if len(numbers) < len(values) or len(steps) != 1:
        choice: Scalar = trial.suggest_categorical(name, list(values))
        return choice
    low, high, (step,) = numbers[0], numbers[-1], steps
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, step=int(step))
    return trial.suggest_float(name, low, high, step=float(step))


def _on_grid(value: Scalar, choices: tuple[Scalar, ...]) -> Scalar:
    """The choice a number stands for, rounding apart: 0.30000000000000004 is 0.3, and 0 is 0.0."""
    if isinstance(value, (int, float)):
        for choice in choices:
            if isinstance(choice, (int, float)) and abs(choice - value) < 1e-9:
                return choice
    return value


def _nearest(name: str, choices: tuple[Scalar, ...], wanted: Scalar) -> Scalar:
    """The choice next to what is wanted; bits count in doublings; between two, the one that removes less.
    Where nothing is wanted: the largest number."""
    numbers = [choice for choice in choices if isinstance(choice, (int, float))]
    if not numbers or not isinstance(wanted, (int, float)):
        return wanted if wanted in choices else max(numbers, default=choices[0])
    gentle_first = sorted(numbers, reverse=not name.endswith("_sparsity"))
    if name.endswith("_bits"):
        return min(gentle_first, key=lambda number: abs(log2(number) - log2(wanted)))
    return min(gentle_first, key=lambda number: abs(number - wanted))


def _start(depth: float, heads: float, neurons: float, bits: int, embedding_bits: int) -> dict[str, Scalar]:
    sparsities = {"head_sparsity": heads, "ffn_sparsity": neurons}
    return {"depth": depth, "attention": "full", **sparsities, "weight_bits": bits, "embedding_bits": embedding_bits}


# Depth here is a fraction of the teacher's. The teacher in 8 bits is a valid front within seconds. Then those that cost
# little to make and promise most, the corner of the space among them; deep and thin ones keep most of the quality (6 of 6
# layers with half the heads and a quarter of the neurons, in int8, is 8 times as fast as the fp32 teacher and lost nothing
# in film reviews), but their refit takes several times as long.
INITIAL_RECIPES: tuple[Mapping[str, Scalar], ...] = (
    _start(1, 0, 0, 8, 8),
    _start(1 / 2, 2 / 3, 3 / 4, 8, 4),
    _start(1 / 3, 2 / 3, 3 / 4, 8, 4),
    _start(0, 1, 1, 8, 1),
    _start(2 / 3, 1 / 2, 3 / 4, 8, 4),
    _start(1, 1 / 2, 3 / 4, 8, 4),
    _start(1, 2 / 3, 7 / 8, 8, 4),
    _start(1, 0, 0, 8, 4),
)
