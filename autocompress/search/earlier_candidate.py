"""A trained candidate of an earlier study, as a folder that another study starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from autocompress.core.errors import UsageError
from autocompress.core.recipe import Recipe
from autocompress.core.stage import Stage
from autocompress.models.model_types import Model
from autocompress.search.stage_keys import start_stage
from autocompress.storage.atomic_folder import move_into_place, open_temporary_folder
from autocompress.storage.checksums import manifest
from autocompress.techniques.structure import Structure, load_structure, save_structure

if TYPE_CHECKING:
    from autocompress.models.candidate import Candidate

FACTS, WEIGHTS = "candidate.json", "model.safetensors"
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")


@dataclass(frozen=True, kw_only=True)
class TeacherForm:
    """What two teachers must share, so that a candidate of one can go on learning from the other."""

    family: str
    sizes: dict[str, int]  # of `SIZES`, those that the config has
    vocabulary: str  # sha256 of the tokens in the order of their ids
    labels: tuple[str, ...]  # in the order of the outputs; empty where they have no names

    def describe_difference(self, other: TeacherForm) -> str | None:
        """Return how this teacher differs from another one, in words that follow "this one"; null where it does not."""
        if self.family != other.family:
            return f"is of the family {self.family!r}, and not {other.family!r}"
        for name, size in other.sizes.items():
            if self.sizes.get(name) != size:
                return f"has {name} {self.sizes.get(name)}, and not {size}"
        if self.vocabulary != other.vocabulary:
            return "has another vocabulary"
        if self.labels != other.labels:
            return f"predicts the labels {', '.join(self.labels)}, and not {', '.join(other.labels)}"
        return None


@dataclass(frozen=True, kw_only=True)
class EarlierCandidate:
    """The recipe, structure and weights of a candidate, and where they come from."""

    folder: Path
    recipe: Recipe
    structure: Structure
    study: str
    trial: int
    sha256: str  # of its measured artifact
    teacher: TeacherForm  # that it was cut from

    @cached_property
    def stage(self) -> Stage:
        """The stage that stands for it in the keys of what is made from it."""
        return start_stage(manifest(self.folder))

    def load_weights(self, model: Model) -> None:
        """Give its weights to a model of the same structure; the word table is among them."""
        from safetensors.torch import load_file

        model.load_state_dict(load_file(self.folder / WEIGHTS))


def read_teacher_form(model: str, labels: Sequence[str], offline: bool) -> TeacherForm:
    """Return the form of a teacher: a folder or hub name, and the names of the labels that it predicts."""
    from transformers import AutoConfig

    from autocompress.models.teacher import load_tokenizer

    config, tokens = (
        AutoConfig.from_pretrained(model, local_files_only=offline),
        load_tokenizer(model, offline).get_vocab(),
    )
    ordered = json.dumps(sorted(tokens, key=lambda token: (tokens[token], token)))
    return TeacherForm(
        family=str(config.model_type),
        sizes={name: int(getattr(config, name)) for name in SIZES if isinstance(getattr(config, name, None), int)},
        vocabulary=hashlib.sha256(ordered.encode()).hexdigest(),
        labels=tuple(labels),
    )


def save_earlier_candidate(
    folder: Path,
    candidate: Candidate,
    structure: Structure,
    *,
    study: str,
    trial: int,
    sha256: str,
    teacher: TeacherForm,
) -> None:
    """Write a candidate to a folder, all of it or nothing."""
    from safetensors.torch import save_file

    facts = {
        "recipe": candidate.recipe.as_dict(),
        "study": study,
        "trial": trial,
        "sha256": sha256,
        "teacher": asdict(teacher),
    }
    with open_temporary_folder(folder.parent) as new:
        save_file({name: tensor.contiguous() for name, tensor in candidate.model.state_dict().items()}, new / WEIGHTS)
        save_structure(structure, new)
        (new / FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        move_into_place(new, folder)


def read_earlier_candidate(folder: Path, place: str) -> EarlierCandidate:
    """Read what `save_earlier_candidate` wrote; UsageError, which begins with `place`, where it is no such folder."""
    if not (folder / FACTS).is_file():
        raise UsageError(f"{place}: {folder} holds no candidate; name a folder that `autocompress refresh` wrote")
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    recipe, teacher = Recipe(**facts.pop("recipe")), facts.pop("teacher")
    form = TeacherForm(**{**teacher, "labels": tuple(teacher["labels"])})
    return EarlierCandidate(folder=folder, recipe=recipe, structure=load_structure(folder), teacher=form, **facts)
