"""The token-classification task: the tokens of words, and the tags that outputs give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autocompress import metrics
from autocompress.core.domain import Anatomy
from autocompress.core.errors import UsageError
from autocompress.data.ragged import Ragged
from autocompress.models.families import load_family
from autocompress.models.forward import open_forward
from autocompress.models.teacher import load_tokenizer
from autocompress.search import tokenizer_check
from autocompress.space.space import Space
from autocompress.tasks import load_task
from autocompress.tasks._class_objective import ClassObjective
from autocompress.tasks._words import WordTokens
from autocompress.tasks.token_classification import TASK
from autocompress.techniques.stages import DataTechnique
from tests.models import tiny_batch, tiny_model
from tests.test_tagged_rows import ROWS, plan_of, three_splits
from tests.tiny import TAG_NAMES, tiny_tagged_rows, tiny_tokenizer


def tokens_of(folder: Path, rows: list[dict[str, Any]], max_tokens: int = 32, family: str = "bert") -> WordTokens:
    tokenizer = load_tokenizer(str(saved_tokenizer(folder, family)), reads_words=True)
    data = TASK.read(plan_of(three_splits(folder, rows)), dict(enumerate(TAG_NAMES)))
    tokens = TASK.tokenize(data.train, tokenizer, max_tokens)
    assert isinstance(tokens, WordTokens)
    return tokens


def saved_tokenizer(folder: Path, family: str) -> Path:
    tiny_tokenizer(family).save_pretrained(folder / family)
    return folder / family


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(len(TAG_NAMES), dtype=np.float32)[np.maximum(labels, 0)]


def test_the_first_token_of_a_word_has_its_label_and_the_others_none(tmp_path: Path) -> None:
    tokens = tokens_of(tmp_path, [{"tokens": ["good", "xy", "bad"], "tags": ["B-POS", "O", "B-NEG"]}, *ROWS])
    first = tokens.labels.take(np.array([0])).values.tolist()
    assert first == [-100, 1, 0, -100, 3, -100]  # [CLS] good x ##y bad [SEP]
    assert tokens.first_tokens[:3].tolist() == [1, 2, 4]


def test_words_of_a_byte_level_tokenizer_begin_with_a_space_as_inside_a_text(tmp_path: Path) -> None:
    folder = saved_tokenizer(tmp_path, "roberta")
    tokenizer = load_tokenizer(str(folder), reads_words=True)
    words, text = tokenizer([["good", "film"]], is_split_into_words=True), tokenizer(" good film")
    assert words["input_ids"][0] == text["input_ids"]
    tokenizer.save_pretrained(tmp_path / "again")
    assert (
        load_tokenizer(str(tmp_path / "again"))([["good", "film"]], is_split_into_words=True)["input_ids"]
        == words["input_ids"]
    )
    assert (
        load_tokenizer(str(folder))("good")["input_ids"] != tokenizer("good")["input_ids"]
    )  # texts: as the model has it


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_right_outputs_give_the_tags_of_every_word(tmp_path: Path, family: str) -> None:
    tokens = tokens_of(tmp_path, [*ROWS, *tiny_tagged_rows(20)], family=family)
    outputs = Ragged(one_hot(tokens.labels.values), tokens.labels.counts)
    truth = TASK.references(tokens, outputs)
    assert truth[:3].tolist() == [tuple(row["tags"]) for row in ROWS]
    assert TASK.predict(outputs, tokens).tolist() == truth.tolist()
    assert TASK.is_right(TASK.predict(outputs, tokens), truth) is not None


def test_words_that_are_cut_off_count_as_predicted_outside(tmp_path: Path) -> None:
    row = {"tokens": ["the", "good", "plot", "bad"], "tags": ["O", "B-POS", "O", "B-NEG"]}
    tokens = tokens_of(tmp_path, [row, *ROWS], max_tokens=4)  # [CLS] the good [SEP]
    outputs = Ragged(one_hot(tokens.labels.values), tokens.labels.counts)
    predicted, truth = TASK.predict(outputs, tokens), TASK.references(tokens, outputs)
    assert predicted[0] == ("O", "B-POS", "O", "O") and truth[0] == tuple(row["tags"])
    counts = metrics.METRICS.load("entity_f1").counts
    assert counts is not None and counts(predicted, truth)[0].tolist() == [1, 1, 2]


def test_without_a_label_o_a_word_that_is_cut_off_is_wrong(tmp_path: Path) -> None:
    row = {"tokens": ["the", "good", "plot"], "tags": ["DET", "ADJ", "NOUN"]}
    data = TASK.read(plan_of(three_splits(tmp_path, [row])))
    tokens = TASK.tokenize(data.train, tiny_tokenizer("bert"), 4)
    outputs = Ragged(np.eye(3, dtype=np.float32)[np.maximum(tokens.labels.values, 0)], tokens.labels.counts)
    predicted, truth = TASK.predict(outputs, tokens), TASK.references(tokens, outputs)
    assert predicted[0] == ("DET", "ADJ", "")
    assert metrics.load_metric("accuracy").compute(predicted, truth) == pytest.approx(2 / 3)


def test_a_word_without_tokens_is_predicted_outside(tmp_path: Path) -> None:
    tokens = tokens_of(tmp_path, [{"tokens": ["good", "", "bad"], "tags": ["B-POS", "O", "B-NEG"]}])
    assert tokens.first_tokens.tolist() == [1, -1, 2]
    outputs = Ragged(one_hot(tokens.labels.values), tokens.labels.counts)
    assert TASK.predict(outputs, tokens)[0] == ("B-POS", "O", "B-NEG")


def test_changes_are_counted_in_texts_with_another_label_of_a_token() -> None:
    recorded = np.zeros((2, 3, 4))
    recorded[..., 1] = 1
    changed = recorded.copy()
    changed[1, 2, 3] = 2
    assert (TASK.count_changes(recorded, recorded), TASK.count_changes(changed, recorded)) == (0, 1)
    recorded[1, 2, 3] = 1  # a tie: either label is right
    assert TASK.count_changes(changed, recorded) == 0


def test_loss_and_distillation_are_means_over_tokens() -> None:
    logits, labels = torch.randn(7, 5), torch.tensor([-100, 1, 2, -100, 0, 4, -100])
    expected = -logits.log_softmax(-1)[[1, 2, 4, 5], [1, 2, 0, 4]].mean()
    assert float(TASK.objective(None).loss(logits, {"labels": labels})) == pytest.approx(float(expected), rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_a_tagger_learns_tiny_rows(family: str) -> None:
    """Losses of outputs of tokens reach every layer: a few steps on one batch lower the loss of all families."""
    model, batch = tiny_model(family, head="AutoModelForTokenClassification", labels=5), tiny_batch(family)
    counts = batch["attention_mask"].sum(1)
    labels = torch.arange(int(counts.sum())) % 5
    labels[0] = -100
    forward, optimizer = open_forward(model, load_family(family)), torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        outputs = forward.run_batch(batch).logits[batch["attention_mask"].bool()]
        loss = ClassObjective().loss(outputs, {"labels": labels})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_a_decision_that_changes_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lower(DataTechnique):
        name = "depth"  # in the place of a decision that spaces know

        def edit_tokenizer(self, tokenizer: object, value: object) -> None:
            raise AssertionError("never called")

    monkeypatch.setattr(Lower, "__abstractmethods__", frozenset())
    monkeypatch.setattr(tokenizer_check, "ordered_techniques", lambda: {"depth": Lower()})
    space, fixed = (Space(Anatomy(3), {"depth": values}) for values in ((1, 3), (3,)))
    with pytest.raises(
        UsageError, match=r"s.yaml: space.depth: it changes how texts become tokens, but candidates of token-"
    ):
        tokenizer_check.check_tokens(space, TASK, "s.yaml: space")
    tokenizer_check.check_tokens(space, load_task("text-classification"), "s.yaml: space")
    tokenizer_check.check_tokens(fixed, TASK, "s.yaml: space")
