"""Texts that decisions about augmentation add: changed copies of the study's texts, and the teacher's outputs on them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from autocompress.core.scalar import Scalar
from autocompress.data.near_duplicates import near_duplicates
from autocompress.data.ragged import load_outputs, save_outputs
from autocompress.search.stage_keys import augmented_stage
from autocompress.search.stage_timer import StageTimer
from autocompress.search.study_data import StudyData
from autocompress.search.teacher_provider import TeacherProvider
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store
from autocompress.tasks import Tokens
from autocompress.techniques.stages import AugmentationTechnique, Vocabulary
from autocompress.training.distillation import Targets, compute_targets
from autocompress.training.loop import Progress

NEIGHBOURS = 10  # of a token
MARKS = ("##", "Ġ", "▁")  # before a part of a word, or before a word, by the kind of tokenizer
TOKENS_FILE, BATCH = "tokens.npz", 2000
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Augmented:
    """Texts that a candidate learns from, and the teacher's outputs on them."""

    tokens: Tokens  # as the teacher's tokenizer cuts them; without labels
    targets: Targets


@dataclass(frozen=True)
class Augmentation:
    """Makes the copies of one study; each decision with its value is a stage on disk."""

    data: StudyData
    teacher: TeacherProvider
    store: Store
    seed: int

    def load(self, technique: AugmentationTechnique, value: Scalar, count: int, timer: StageTimer) -> Augmented:
        """Return `count` copies or some fewer, and the teacher's outputs on them; the teacher must be loaded."""
        with timer.stage("teacher outputs") as progress:
            stage = augmented_stage(self.teacher.stage.key, technique.name, value, count, self.seed)
            folder = self.store.stage(stage, lambda new: self._make(technique, count, new, progress))
        targets = Targets(load_outputs(folder), np.load(folder / "hidden.npy", mmap_mode="r"))
        return Augmented(self._load_tokens(folder), targets)

    def copies(self, technique: AugmentationTechnique, count: int) -> Tokens:
        """Return copies of texts, which are drawn in turn, without near duplicates of judged rows."""
        sources, draws = self._sources, np.random.default_rng(self.seed)
        order = np.resize(draws.permutation(len(sources)), count)
        changed = [technique.change(sources.input_ids[number], self.vocabulary, draws) for number in order]
        changed = [self._shorten(copy) for copy in changed]
        is_kept = ~near_duplicates([copy[:, 1] for copy in changed], self._judged)
        if not is_kept.all():
            log.info("%s: left out %d of %d copies, near duplicates of rows that models are judged on", technique.name,
                     count - is_kept.sum(), count)  # fmt: skip
        kept = np.flatnonzero(is_kept)
        types = sources.token_type_ids
        return self._without_labels(
            tuple(changed[number][:, 1] for number in kept),
            None if types is None else tuple(types[order[number]][changed[number][:, 0]] for number in kept),
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The teacher's tokens."""
        names, specials = self._names, list(self.data.tokenizer.all_special_ids)
        is_word = np.array([_unmarked(name)[1].isalpha() for name in names])
        is_word[specials] = False
        return Vocabulary(is_word, lambda: self._nearest)

    @cached_property
    def _nearest(self) -> np.ndarray:
        """The nearest tokens (vocabulary, NEIGHBOURS) by the cosine of the rows of the word table, for tokens of the texts.

        Words are near to words, parts of words to parts. Where there are too few, and for tokens of no text, it is the token.
        """
        table = self.teacher.family.embeddings(self.teacher.model).word.weight.detach().float()
        unit, is_word = torch.nn.functional.normalize(table, dim=1), self.vocabulary.is_word
        marks = np.array([_unmarked(name)[0] for name in self._names])
        nearest = np.tile(np.arange(len(table))[:, None], (1, NEIGHBOURS))
        used = np.unique(np.concatenate(self._sources.input_ids))
        for mark in np.unique(marks):
            group = np.flatnonzero(is_word & (marks == mark))
            asked = np.intersect1d(used, group)
            count = min(NEIGHBOURS, len(group) - 1)
            for start in range(0, len(asked) if count > 0 else 0, BATCH):
                rows = asked[start : start + BATCH]
                likeness = unit[rows] @ unit[group].T
                likeness[torch.arange(len(rows)), torch.from_numpy(np.searchsorted(group, rows))] = -1.0  # itself
                nearest[rows, :count] = group[likeness.topk(count).indices.numpy()]
        return nearest

    @cached_property
    def _names(self) -> list[str]:
        rows = len(self.teacher.family.embeddings(self.teacher.model).word.weight)
        names = self.data.tokenizer.convert_ids_to_tokens(list(range(rows)))
        return [name or "" for name in names]  # a table may have more rows than there are tokens

    @cached_property
    def _sources(self) -> Tokens:
        """The texts that are copied: those of train, then the unlabelled ones."""
        unlabelled = self.data.tokenize(self.data.splits.unlabelled)
        train = self.data.tokens["train"]
        types = None if train.token_type_ids is None else (*train.token_type_ids, *(unlabelled.token_type_ids or ()))
        return self._without_labels((*train.input_ids, *unlabelled.input_ids), types)

    @cached_property
    def _judged(self) -> list[np.ndarray]:
        """The rows of all other splits: validation, test and agreement rows."""
        return [row for split, tokens in self.data.tokens.items() if split != "train" for row in tokens.input_ids]

    def _shorten(self, copy: np.ndarray) -> np.ndarray:
        """Return a copy without its last words, where it is longer than the teacher reads."""
        excess = len(copy) - self.data.max_tokens
        return (
            np.delete(copy, np.flatnonzero(self.vocabulary.is_word[copy[:, 1]])[-excess:], axis=0)
            if excess > 0
            else copy
        )

    def _without_labels(self, ids: tuple[np.ndarray, ...], types: tuple[np.ndarray, ...] | None) -> Tokens:
        labels = self.data.tokens["train"].labels.values
        missing = self.data.task.missing_labels([len(row) for row in ids], labels.dtype, labels.shape[1:])
        return Tokens(ids, types, missing)

    # ---- the stage -------------------------------------------------------------------------------------------------

    def _make(self, technique: AugmentationTechnique, count: int, folder: Path, progress: Progress) -> None:
        tokens = self.copies(technique, count)
        with device_lock.share_with_pauses(self.store.root) as pause:
            batch_of = partial(self.data.training_batch, tokens)
            targets = compute_targets(self.teacher.forward, batch_of, tokens.lengths, pause(progress))
        save_outputs(targets.outputs, folder)
        np.save(folder / "hidden.npy", np.asarray(targets.hidden))
        types = np.concatenate(tokens.token_type_ids or [np.zeros(0, np.int64)])
        np.savez(
            folder / TOKENS_FILE, ids=np.concatenate(tokens.input_ids), counts=np.array(tokens.lengths), types=types
        )

    def _load_tokens(self, folder: Path) -> Tokens:
        with np.load(folder / TOKENS_FILE) as stored:
            ends = np.cumsum(stored["counts"])[:-1]
            ids = tuple(np.split(stored["ids"], ends))
            return self._without_labels(ids, tuple(np.split(stored["types"], ends)) if len(stored["types"]) else None)


def _unmarked(name: str) -> tuple[str, str]:
    """Return the mark with which a token's name begins, and the rest; an empty mark where it has none."""
    mark = next((mark for mark in MARKS if name.startswith(mark)), "")
    return mark, name[len(mark) :]
