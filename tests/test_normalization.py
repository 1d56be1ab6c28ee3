"""Decisions about how texts are written: what they remove, and that the exported tokenizer alone does the same."""

from __future__ import annotations

import copy
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from autocompress.core.domain import Anatomy
from autocompress.core.errors import UsageError
from autocompress.core.technique import ordered_techniques
from autocompress.deployment.companion_files import _write_tokenizer
from autocompress.interfaces.cli import main
from autocompress.search.tokenizer_check import check_normalization
from autocompress.space.parsing import resolve_space
from autocompress.techniques.normalization.stop_words import ENGLISH
from autocompress.techniques.stages import DataTechnique
from tests.tiny import tiny_study, tiny_tokenizer

ACTIVE = {
    "stop_words": "english", "punctuation": "remove", "digits": "zero", "letter_case": "lower", "accents": "strip",
}  # fmt: skip
EXAMPLE = "The Café isn't OPEN: it costs $1,234.50 — don't you think?"
NORMALIZED = {
    "stop_words": "Café isn't OPEN: costs $1,234.50 — don't think?",
    "punctuation": "The Café isnt OPEN it costs $1 234 50 dont you think",
    "digits": "The Café isn't OPEN: it costs $0,000.00 — don't you think?",
    "letter_case": "the café isn't open: it costs $1,234.50 — don't you think?",
    "accents": "The Cafe isn't OPEN: it costs $1,234.50 — don't you think?",
}
TEXTS = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(" .'’aeBé1٣²the"), max_size=60)


def fresh_tokenizer(family: str) -> Any:
    """Return a tokenizer that no other test changes."""
    return copy.deepcopy(tiny_tokenizer(family))


def edit(tokenizer: Tokenizer, *names: str) -> Tokenizer:
    """Apply decisions to a tokenizer in their order."""
    for name, technique in ordered_techniques().items():
        if name in names:
            assert isinstance(technique, DataTechnique)
            technique.edit_tokenizer(tokenizer, ACTIVE[name])
    return tokenizer


def normalize(text: str, *names: str) -> str:
    return str(edit(fresh_tokenizer("roberta").backend_tokenizer, *names).normalizer.normalize_str(text))


@pytest.mark.parametrize("name", ACTIVE)
def test_each_decision_alone(name: str) -> None:
    assert normalize(EXAMPLE, name) == NORMALIZED[name]


def test_all_decisions_together_apply_to_the_letters_first() -> None:
    assert normalize(EXAMPLE, *ACTIVE) == "cafe isnt open costs $0 000 00 dont think"
    assert normalize("ThÉ end", "accents", "letter_case", "stop_words") == "end"


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_what_a_decision_removes_is_gone(text: str) -> None:
    assert not any(unicodedata.category(letter) == "Nd" and letter != "0" for letter in normalize(text, "digits"))
    assert not any(unicodedata.category(letter)[0] == "P" for letter in normalize(text, "punctuation"))
    lower = normalize(text, "letter_case")
    assert lower == lower.lower()
    assert not set(normalize(text, *ACTIVE).split()) & set(ENGLISH)
    for name in ("digits", "letter_case", "punctuation"):
        once = normalize(text, name)
        assert normalize(once, name) == once


def test_what_decides_on_sentiment_and_on_questions_are_no_stop_words() -> None:
    kept = "not no nor never very too so such just only more most few what who which where when how why"
    assert normalize(f"the {kept} and", "stop_words") == kept


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_special_tokens_stay(family: str) -> None:
    tokenizer = fresh_tokenizer(family)
    edit(tokenizer.backend_tokenizer, *ACTIVE)
    ids = tokenizer.backend_tokenizer.encode(f"good {tokenizer.mask_token} film").ids
    assert ids.count(tokenizer.mask_token_id) == 1


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_exported_tokenizer_alone_gives_the_ids_that_training_saw(family: str, tmp_path: Path) -> None:
    trained = fresh_tokenizer(family)
    edit(trained.backend_tokenizer, *ACTIVE)
    _write_tokenizer(trained, False, tmp_path)
    exported = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))

    @given(TEXTS)
    @settings(max_examples=200, deadline=None)
    def check(text: str) -> None:
        assert exported.encode(text).ids == trained(text).input_ids

    check()


@pytest.mark.parametrize("name", ACTIVE)
def test_a_decision_that_the_tokenizer_makes_already_is_refused(name: str, tmp_path: Path) -> None:
    space = resolve_space({name: ["keep", ACTIVE[name]]}, Anatomy(3), {}, "space")
    tokenizer = fresh_tokenizer("roberta")
    tokenizer.save_pretrained(tmp_path / "teacher")
    check_normalization(space, str(tmp_path / "teacher"), "s.yaml: space", offline=True)
    edited = PreTrainedTokenizerFast(tokenizer_object=edit(tokenizer.backend_tokenizer, name))
    edited.save_pretrained(tmp_path / "edited")
    with pytest.raises(
        UsageError, match=f"s.yaml: space.{name}: the teacher's tokenizer gives the same tokens with and"
    ):
        check_normalization(space, str(tmp_path / "edited"), "s.yaml: space", offline=True)
    fixed = resolve_space({name: "keep"}, Anatomy(3), {}, "space")
    check_normalization(fixed, str(tmp_path / "none"), "s.yaml: space", offline=True)  # reads no file


def test_a_search_ends_before_any_work_where_a_decision_is_made_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tiny_study(tmp_path, space={"depth": "all", "letter_case": ["keep", "lower"]})  # BERT's tokenizer is uncased
    assert main(["search", str(file), "--offline"]) == 2
    assert "tiny.yaml: space.letter_case: the teacher's tokenizer gives the same tokens" in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()
