"""Long texts cut at the ends of sentences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autocompress.data.passages import count_words, cut_text

WORDS = st.lists(st.sampled_from(["one", "two.", "three!", "四。", "五", "six\n", "… seven?"]), min_size=1, max_size=40)


def test_passages_are_whole_sentences_that_fit() -> None:
    text = "One two three. Four five! Six seven eight nine ten? Eleven."
    assert list(cut_text(text, 5)) == ["One two three. Four five!", "Six seven eight nine ten?", "Eleven."]
    assert list(cut_text(text, 3)) == ["One two three.", "Four five!", "Six seven eight nine ten?", "Eleven."]
    assert list(cut_text("狗在草地上。猫在树下!鸟在飞。", 6)) == ["狗在草地上。", "猫在树下!鸟在飞。"]


def test_a_text_that_fits_stays_as_it_is() -> None:
    assert list(cut_text(" One. \n Two! ", 2)) == [" One. \n Two! "]
    assert list(cut_text("", 2)) == [""]


@given(WORDS, st.integers(1, 12))
def test_passages_lose_no_word_and_hold_several_sentences_only_where_they_fit(words: list[str], most: int) -> None:
    text = " ".join(words)
    passages = list(cut_text(text, most))
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert all(count_words(passage) <= most or len(list(cut_text(passage, 1))) == 1 for passage in passages)
