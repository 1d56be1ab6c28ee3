"""Cut long texts at the ends of sentences, so that a model of few tokens reads more than their beginnings."""

from __future__ import annotations

import re
from collections.abc import Iterator

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")  # a word, or a character of a script without spaces
SENTENCE_END = re.compile(r"(?<=[。！？])\s*|(?<=[.!?…])\s+|\s*\n\s*")  # no space follows a mark of Chinese or Japanese


def count_words(text: str) -> int:
    """Return the number of words of a text; each character of a script without spaces is one."""
    return len(WORD.findall(text))


def cut_text(text: str, most_words: int) -> Iterator[str]:
    """Yield the passages of a text: as many whole sentences as have at most `most_words` words together.

    A longer sentence is a passage of its own. Words are counted, not tokens: a passage that fits in words may be truncated by
    a few tokens. A text of at most `most_words` words is yielded as it is.
    """
    if count_words(text) <= most_words:
        yield text
        return
    passage, words = "", 0
    for sentence in filter(None, SENTENCE_END.split(text.strip())):
        count = count_words(sentence)
        if passage and words + count > most_words:
            yield passage
            passage, words = "", 0
        passage, words = f"{passage} {sentence}".strip(), words + count
    if passage:
        yield passage
