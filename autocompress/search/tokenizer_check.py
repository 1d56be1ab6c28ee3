"""Check before any work that decisions about text fit the task, and change what the teacher's tokenizer does."""

from __future__ import annotations

import copy

from autocompress.core.errors import UsageError
from autocompress.core.technique import ordered_techniques
from autocompress.space.space import Space
from autocompress.tasks import Task
from autocompress.techniques.stages import DataTechnique


def check_tokens(space: Space, task: Task, place: str) -> None:
    """Raise UsageError where a decision changes the tokens of a task whose outputs are those of the teacher's tokens."""
    if not task.has_token_outputs:
        return
    for technique in _list_searched(space):
        raise UsageError(
            f"{place}.{technique.name}: it changes how texts become tokens, but candidates of {task.name} learn an output of"
            " each token of the teacher; leave it out"
        )


def check_normalization(space: Space, model: str, place: str, offline: bool) -> None:
    """Raise UsageError where the teacher's tokenizer does already what a decision would do: its trials would be wasted."""
    searched = [technique for technique in _list_searched(space) if technique.sample]
    if not searched:
        return
    from autocompress.models.teacher import load_tokenizer

    original = load_tokenizer(model, offline).backend_tokenizer
    for technique in searched:
        tokens = original.encode(technique.sample).ids
        for value in filter(technique.is_active, space.choices[technique.name]):
            edited = copy.deepcopy(original)
            technique.edit_tokenizer(edited, value)
            if edited.encode(technique.sample).ids == tokens:
                raise UsageError(
                    f"{place}.{technique.name}: the teacher's tokenizer gives the same tokens with and without {value!r}"
                    f" (e.g. for {technique.sample!r}); leave the decision out"
                )


def _list_searched(space: Space) -> list[DataTechnique]:
    """Return the decisions about text of which a space has a value that changes something."""
    techniques = ordered_techniques().items()
    return [entry for name, entry in techniques if isinstance(entry, DataTechnique) and space.changes(name)]
