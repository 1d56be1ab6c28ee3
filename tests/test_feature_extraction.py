"""Sentence embeddings as a task: pooling, texts and pairs, similarities, losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autocompress.config import Recovery
from autocompress.core.errors import UsageError
from autocompress.core.sentence_embedding import POOLING_KEY
from autocompress.data.ragged import Ragged
from autocompress.models.families import load_family
from autocompress.models.forward import Forward
from autocompress.models.importance import measure_importance
from autocompress.models.teacher import load_teacher, model_fingerprint
from autocompress.tasks import Tokens
from autocompress.tasks._embedding_objective import EmbeddingObjective
from autocompress.tasks._sentence_pooling import read_pooling
from autocompress.tasks._similarity import list_pairs
from autocompress.tasks.feature_extraction import TASK
from tests.csv_files import write
from tests.models import tiny_batch, tiny_model
from tests.test_text_classification import plan_of
from tests.tiny import FAMILIES, tiny_tokenizer

ROW = "one text here,another text here,"
PAIRS = {"text": "a", "text_pair": "b", "label": "score"}
OBJECTIVE = EmbeddingObjective()


def texts_file(path: Path, count: int, word: str = "text") -> str:
    return write(path, "text\n" + "".join(f"{word} number {row} of many\n" for row in range(count)))


def pairs_file(path: Path, count: int) -> str:
    rows = "".join(f"left side {row} here,right side {row} there,{row / count}\n" for row in range(count))
    return write(path, f"a,b,score\n{rows}")


def sentence_folder(folder: Path, *modules: str, **pooling: Any) -> str:
    """Write the files of sentence-transformers; a module is `kind` or `folder/kind`."""
    entries = [
        {"path": f"{index}_{kind}" if index else "", "type": f"s.models.{kind}"} for index, kind in enumerate(modules)
    ]
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **pooling}))
    return str(folder)


# ---- the model -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modules", "pooling", "expected"),
    [
        (("Transformer", "Pooling", "Normalize"), {"pooling_mode_mean_tokens": True}, ("mean", True)),
        (
            ("Transformer", "Pooling"),
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            ("cls", False),
        ),
        (("Transformer", "Pooling"), {"pooling_mode": "cls"}, ("cls", False)),
        (("Transformer",), {}, ("mean", False)),
    ],
)
def test_read_pooling_of_a_sentence_transformers_folder(
    modules: tuple[str, ...], pooling: dict[str, Any], expected: tuple[str, bool], tmp_path: Path
) -> None:
    source = sentence_folder(tmp_path, *modules, **pooling)
    assert read_pooling(source, "teacher.model", True) == dict(zip(("pooling", "normalize"), expected, strict=True))


def test_read_pooling_of_other_folders_is_their_config_or_the_mean(tmp_path: Path) -> None:
    assert read_pooling(str(tmp_path), "teacher.model", True) == {"pooling": "mean", "normalize": True}
    kept = {"pooling": "cls", "normalize": False}
    (tmp_path / "config.json").write_text(json.dumps({POOLING_KEY: kept}))
    assert read_pooling(str(tmp_path), "teacher.model", True) == kept


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (("Transformer", "Pooling", "Dense"), {"pooling_mode_mean_tokens": True}, "ends with the module Dense of"),
        (("Transformer", "Pooling"), {"pooling_mode_max_tokens": True}, "by pooling_mode_max_tokens, which is not"),
        (
            ("Transformer", "Pooling"),
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "by mean with cls, which is not supported; available: mean, cls",
        ),
    ],
)
def test_other_modules_and_poolings_are_refused_by_name(
    modules: tuple[str, ...], pooling: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = sentence_folder(tmp_path, *modules, **pooling)
    with pytest.raises(UsageError) as caught:
        read_pooling(source, "x.yaml: teacher.model", True)
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.yaml: teacher.model: ")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["AutoModel", "AutoModelForSequenceClassification"])
@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_load_teacher_drops_heads_and_pools_as_sentence_transformers(
    family: str, head: str, pooling: str, tmp_path: Path
) -> None:
    tiny_model(family, head).save_pretrained(tmp_path)
    sentence_folder(tmp_path, "Transformer", "Pooling", "Normalize", **{f"pooling_mode_{pooling}": True})
    plan = plan_of({"train": "x"}, fine_tune=False)
    assert plan.teacher.fine_tune is None
    model = load_teacher(str(tmp_path), TASK, None, False, 0, offline=True)  # type: ignore[arg-type]  # data are not read
    batch = tiny_batch(family)
    with torch.no_grad():
        embeddings = Forward(model, load_family(model.config.model_type)).run_batch(batch).logits
        hidden, mask = model(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
    pooled = hidden[:, 0] if pooling == "cls_token" else (hidden * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(embeddings, torch.nn.functional.normalize(pooled, dim=1), atol=1e-5, rtol=1e-4)
    assert not any("pooler" in name for name, _ in model.named_parameters())


def test_load_teacher_refuses_a_model_without_all_layers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny_model("bert", "AutoModel").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "layer.1" not in name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(UsageError, match="lacks weights of its layers"):
        load_teacher(str(tmp_path), TASK, None, False, 0, offline=True)  # type: ignore[arg-type]  # data are not read


def test_pooling_is_part_of_the_fingerprint_of_this_task_only(tmp_path: Path) -> None:
    source = sentence_folder(tmp_path, "Transformer", "Pooling", pooling_mode_mean_tokens=True)
    before = model_fingerprint(source, TASK.model_files)
    sentence_folder(tmp_path, "Transformer", "Pooling", pooling_mode_cls_token=True)
    after = model_fingerprint(source, TASK.model_files)
    assert {name for name in after if after[name] != before[name]} == {"1_Pooling/config.json"}
    assert model_fingerprint(source) == {}


def test_check_teacher_refuses_fine_tuning() -> None:
    with pytest.raises(UsageError, match=r"teacher.fine_tune: feature-extraction has no labels to fine-tune on"):
        TASK.check_teacher(plan_of({"train": "x"}, fine_tune=True), 2)


# ---- rows ----------------------------------------------------------------------------------------------------------


def test_short_repeated_and_shared_texts_are_left_out_with_their_counts(tmp_path: Path) -> None:
    train = write(
        tmp_path / "train.csv",
        'text\n""\n = Heading = \nRight  SIDE 3 there\nsame text twice\nSame text twice\n'
        + "".join(f"train text {row}\n" for row in range(20)),
    )
    more = write(tmp_path / "more.csv", "text\nleft side 1 here\nsame text twice\na really new text\n")
    judged = pairs_file(tmp_path / "pairs.csv", 12)
    data = {"train": train, "validation": judged, "test": judged, "unlabelled": more}
    task = TASK.read(plan_of(data, {**PAIRS, "train_text": "text"}, fine_tune=False))
    assert len(task.train) == 21
    assert task.train.pairs is None and np.isnan(task.train.labels.values).all()
    assert task.unlabelled.texts == ("a really new text",)
    assert len(task.validation) == 12 and task.validation.pairs is not None
    assert [note.partition("task.data.")[2] for note in task.notes] == [
        "train: 3 of 25 texts are left out: 2 shorter than 3 words, 1 repeated",
        "train: 1 of 22 texts are left out: 1 in another split",
        "unlabelled: 2 of 3 texts are left out: 2 in another split",
    ]


def test_texts_that_are_too_long_are_cut_to_learn_from_but_not_to_judge_by(tmp_path: Path) -> None:
    long = "one two three four. five six seven eight! nine ten eleven twelve?"
    rows = [f"{long} {row} more words" for row in range(60)]
    train = write(tmp_path / "train.csv", "text\n" + "\n".join(rows))
    more = write(tmp_path / "more.csv", f"text\n{' '.join([long] * 2)}\n")
    plan = plan_of({"train": train, "unlabelled": more}, fine_tune=False)
    task = TASK.read(plan.model_copy(update={"task": plan.task.model_copy(update={"max_tokens": 8})}))
    assert set(task.validation.texts) | set(task.test.texts) < set(rows)
    learnt = "one two three four. five six seven eight!"
    assert task.train.texts.count(learnt) == 1 and task.train.texts[1].startswith("nine ten eleven twelve? ")
    assert len(task.train) == 37  # 36 ends, and the beginning that all share
    assert task.unlabelled.texts == (
        "nine ten eleven twelve? one two three four.",
        "five six seven eight! nine ten eleven twelve?",
    )
    assert "36 texts are cut at ends of sentences into 72, since task.max_tokens is 8" in task.notes[0]


def test_unlabelled_texts_of_other_columns_are_cut_and_left_out_alike(tmp_path: Path) -> None:
    train, judged = texts_file(tmp_path / "train.csv", 40), pairs_file(tmp_path / "judged.csv", 30)
    more = write(tmp_path / "more.csv", "title,body\na short title,left side 1 here\nno,one two three. four five six\n")
    data = {"train": train, "validation": judged, "test": judged, "unlabelled": more}
    columns = {**PAIRS, "train_text": "text"}
    asked = {**data, "unlabelled_columns": ["title", "body"]}
    plan = plan_of(asked, columns, fine_tune=False)
    plan = plan.model_copy(update={"task": plan.task.model_copy(update={"max_tokens": 4})})
    assert TASK.read(plan).unlabelled.texts == ("a short title", "one two three.", "four five six")


def test_absent_splits_are_texts_or_pairs_as_train_is(tmp_path: Path) -> None:
    plain = TASK.read(plan_of({"train": texts_file(tmp_path / "a.csv", 400)}, fine_tune=False))
    assert (len(plain.train), len(plain.validation), len(plain.test)) == (240, 80, 80)
    assert plain.validation.pairs is None
    pairs = TASK.read(plan_of({"train": pairs_file(tmp_path / "b.csv", 400)}, PAIRS, fine_tune=False))
    assert len(pairs.validation) == pytest.approx(80, abs=10) and pairs.validation.pairs is not None
    assert set(pairs.train.texts).isdisjoint({*pairs.validation.texts, *pairs.validation.pairs})
    assert len(pairs.train) == 2 * (400 - len(pairs.validation) - len(pairs.test))


def test_chinese_characters_count_as_words(tmp_path: Path) -> None:
    texts = "".join(f"我喜欢这部电影{chr(0x4E00 + row)}\n" for row in range(60))
    assert (
        len(TASK.read(plan_of({"train": write(tmp_path / "a.csv", "text\n好\n" + texts)}, fine_tune=False)).train) == 36
    )


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            12 * (ROW + "good\n"),
            PAIRS,
            "row 1: score must be a number, but is 'good'; correct or remove the row, or leave",
        ),
        (12 * (ROW + "2\n"), PAIRS, "every pair has the same score, 2; different"),
        (2 * (ROW + "1\nx,y,2\n"), PAIRS, "task.data.validation: 4 pairs remain after filters and limits; at least 10"),
        ("x,y,1\n", {"text": "a", "label": "score"}, "task.columns: text_pair is missing; label is the similarity"),
        ("x,y,1\n", {"text": "a", "text_pair": "b"}, "task.columns: label is missing; label is the similarity"),
        ("x,,1\n", PAIRS, "row 1: b is null"),
    ],
)
def test_wrong_pairs_are_refused_in_one_sentence(
    rows: str, columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    judged = write(tmp_path / "pairs.csv", "a,b,score\n" + rows)
    data = {"train": texts_file(tmp_path / "a.csv", 30), "validation": judged, "test": judged}
    with pytest.raises(UsageError) as caught:
        TASK.read(plan_of(data, {**columns, "train_text": "text"}, fine_tune=False))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    few = texts_file(tmp_path / "few.csv", 5, "other")
    data = {"train": texts_file(tmp_path / "a.csv", 30), "validation": few, "test": few}
    with pytest.raises(UsageError, match=r"task.data.validation: 5 texts remain .*; at least 10 are needed"):
        TASK.read(plan_of(data, fine_tune=False))


# ---- similarities --------------------------------------------------------------------------------------------------


def tokens_of(texts: int, labels: int) -> Tokens:
    ids = tuple(np.ones(3, np.int64) for _ in range(texts))
    values = np.arange(labels, dtype=np.float32) if labels < texts else np.full(labels, np.nan, np.float32)
    return Tokens(ids, None, Ragged.one_each(values))


def test_labelled_pairs_are_two_rows_of_tokens_and_one_prediction(tmp_path: Path) -> None:
    judged = pairs_file(tmp_path / "pairs.csv", 12)
    data = {"train": texts_file(tmp_path / "a.csv", 30), "validation": judged, "test": judged}
    rows = TASK.read(plan_of(data, {**PAIRS, "train_text": "text"}, fine_tune=False)).validation
    tokens = TASK.tokenize(rows, tiny_tokenizer("bert"), 16)
    assert (len(tokens), len(tokens.labels), tokens.token_type_ids) == (24, 12, None)
    embeddings = np.random.default_rng(0).normal(size=(24, 8)).astype(np.float32)
    similarities = TASK.predict(Ragged.one_each(embeddings), tokens)
    a, b = embeddings[4], embeddings[5]
    assert similarities[2] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert not TASK.is_judged_by_teacher(tokens)
    assert TASK.references(tokens, Ragged.one_each(embeddings)).tolist() == rows.labels.values.tolist()


def test_without_labels_the_teacher_agrees_with_itself() -> None:
    rng, tokens = np.random.default_rng(0), tokens_of(20, 20)
    teacher = Ragged.one_each(rng.normal(size=(20, 8)).astype(np.float32))
    assert TASK.is_judged_by_teacher(tokens)
    assert np.array_equal(TASK.references(tokens, teacher), TASK.predict(teacher, tokens))
    pairs = list_pairs(20, labelled=False)
    assert sorted(pairs.ravel().tolist()) == sorted([*range(20), *range(20)])
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_embeddings_change_by_more_than_rounding() -> None:
    recorded = np.eye(3, 8, dtype=np.float32)
    assert TASK.count_changes(recorded + 0.01, recorded) == 0
    assert TASK.count_changes(recorded[[0, 2, 1]], recorded) == 2
    assert TASK.disagreement(np.array([0.1, 0.5]), np.array([0.15, 0.3])) == 0.5


# ---- losses --------------------------------------------------------------------------------------------------------


def test_losses_are_zero_at_the_teacher_and_one_each_for_other_texts() -> None:
    rng = torch.Generator().manual_seed(0)
    targets = torch.randn(64, 16, generator=rng)
    others = torch.randn(64, 16, generator=rng)

    def loss(outputs: torch.Tensor) -> float:
        return float(OBJECTIVE.distillation_loss(outputs, targets, {}, Recovery()))

    assert loss(targets) == pytest.approx(0, abs=1e-5)
    assert loss(2 * targets) == pytest.approx(1, abs=1e-3)  # the length
    assert 2 < loss(torch.nn.functional.normalize(others, dim=1) * targets.norm(dim=1, keepdim=True)) < 4
    assert loss(targets + 0.1 * others) < loss(targets + 0.3 * others)
    assert float(OBJECTIVE.divergence(targets, targets)) == pytest.approx(0, abs=1e-4)
    assert float(OBJECTIVE.divergence(-targets, targets)) == pytest.approx(128, abs=1e-3)
    assert np.isfinite(float(OBJECTIVE.distillation_loss(others[:1], targets[:1], {}, Recovery())))


def test_importance_needs_no_labels() -> None:
    model = tiny_model("bert", "AutoModel")
    setattr(model.config, POOLING_KEY, {"pooling": "mean", "normalize": True})
    importance = measure_importance(Forward(model, load_family("bert")), [tiny_batch("bert")], OBJECTIVE)
    assert (importance.heads > 0).all() and (importance.neurons >= 0).all()
    assert sorted(importance.removal) == [0, 1, 2]
