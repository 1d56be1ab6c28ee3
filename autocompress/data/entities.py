"""Entities in sequences of tags: IOB2 (B-PER, I-PER, O), IOBES (also E-PER, S-PER) and BILOU (L- is E-, U- is S-)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

OUTSIDE = "O"
TAG = re.compile(r"O|[BIESLU](-.+)?")
SYNONYMS = {"L": "E", "U": "S"}  # of BILOU -> of IOBES


class Entity(NamedTuple):
    """A type and the words that it covers."""

    type: str
    first: int  # index of its first word
    last: int  # index of its last word


class _Tag(NamedTuple):
    """The two parts of a tag."""

    prefix: str
    type: str


def has_scheme(names: Iterable[str]) -> bool:
    """Return whether tags mark entities: each is O, or begins with B-, I-, E-, S-, L- or U-."""
    distinct = set(names)
    return all(TAG.fullmatch(name) for name in distinct) and bool(distinct - {OUTSIDE})


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of one sequence of tags, as seqeval's default mode finds them (Ramshaw and Marcus 1995).

    Malformed tags count as far as they can be read: an I- without B-, or of another type than the tag before, begins an
    entity.
    """
    found: list[Entity] = []
    first, before = 0, _split(OUTSIDE)
    for position, name in enumerate((*tags, OUTSIDE)):
        tag = _split(name)
        if _is_end(before, tag):
            found.append(Entity(before.type, first, position - 1))
        if _is_start(before, tag):
            first = position
        before = tag
    return found


@cache
def _split(name: str) -> _Tag:
    prefix = name[:1] or OUTSIDE
    return _Tag(SYNONYMS.get(prefix, prefix), name[1:].split("-", 1)[-1] or "_")


def _is_end(before: _Tag, tag: _Tag) -> bool:
    """Return whether an entity ends between two tags."""
    return before.prefix != OUTSIDE and (before.prefix in "ES" or tag.prefix in "BSO" or before.type != tag.type)


def _is_start(before: _Tag, tag: _Tag) -> bool:
    """Return whether an entity begins between two tags."""
    return tag.prefix != OUTSIDE and (tag.prefix in "BS" or before.prefix in "OES" or before.type != tag.type)
