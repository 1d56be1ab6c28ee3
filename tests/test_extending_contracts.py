"""The contract tests of each kind, run over added entries in a copy of the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.extended_package import ROOT, ExtendedPackage, extend_package, nomic_model

SUITES = """
import json
import sys
import autocompress  # of the copy, before pytest puts this package's folder first
import pytest

sys.path.append(sys.argv[1])
import tests.test_runtimes as runtimes
import tests.test_tasks as tasks
from tests.extended_package import tiny_label_sets

assert not autocompress.__file__.startswith(sys.argv[1])
plain_rows = tasks.sample_rows
tasks.WIDTHS["multi-label-classification"] = 3
tasks.sample_rows = lambda name, count, seed: (
    tiny_label_sets(count, seed) if name.startswith("multi") else plain_rows(name, count, seed)
)
runtimes.ROUNDING["onnxruntime_quiet"] = 1e-4
counts = {}

class Counter:
    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            counts[suite] = counts.get(suite, 0) + 1

for suite, (chosen, _) in json.loads(sys.argv[2]).items():
    path = f"{sys.argv[1]}/tests/{suite}"
    options = ["-o", "addopts=-p no:cacheprovider", "-q", "--rootdir", sys.argv[1]]
    if pytest.main([*options, path, "-k", chosen], plugins=[Counter()]):
        sys.exit(1)
print(json.dumps(counts))
"""
CHOSEN = {  # file -> which of its tests, and how many at least
    "test_registries.py": ("", 50),
    "test_attentions.py": ("efficient", 12),
    "test_metrics.py": ("balanced_accuracy and not definition", 8),
    "test_tasks.py": ("multi-label", 7),
    "test_runtimes.py": ("onnxruntime_quiet", 8),
}


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> ExtendedPackage:
    """A copy of the package with an entry of every kind."""
    return extend_package(tmp_path_factory.mktemp("extended-contracts"))


@pytest.mark.slow
def test_added_entries_keep_the_contract_of_their_kind(extended: ExtendedPackage) -> None:
    """Run the chosen tests of each file over the copy, in one process; all must pass."""
    printed = extended.python(SUITES, ROOT, json.dumps(CHOSEN), cwd=extended.folder)
    passed = json.loads(printed.strip().splitlines()[-1])
    assert [file for file, (_, least) in CHOSEN.items() if passed.get(file, 0) < least] == [], passed


SET_METRIC = """
import json
import numpy as np
from autocompress.metrics import METRICS
rng, metric = np.random.default_rng(0), METRICS.load("micro_f1")
predictions, references = rng.integers(0, 2, (2, 40, 3))
pairs = [(p, r) for p, r in zip(predictions.ravel(), references.ravel())]
hits, wrong = sum(p and r for p, r in pairs), sum(p != r for p, r in pairs)
rows = rng.integers(0, 40, (5, 40))
resampled = metric.from_counts(metric.counts(predictions, references)[rows].sum(1))
print(json.dumps([
    metric.compute(predictions, references), float(2 * hits / (2 * hits + wrong)),
    resampled.tolist(), [metric.compute(predictions[some], references[some]) for some in rows],
]))
"""


def test_the_added_metric_of_label_sets_is_its_definition(extended: ExtendedPackage) -> None:
    score, expected, resampled, scores = json.loads(extended.python(SET_METRIC))
    assert score == pytest.approx(expected) and 0 < score < 1
    assert resampled == pytest.approx(scores) and len(set(scores)) > 1


FAMILY = """
import json, sys
import numpy as np
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification
from autocompress.core.recipe import Recipe
from autocompress.deployment.folded_forward import FoldedForward
from autocompress.models import attentions
from autocompress.models.families import load_family
from autocompress.models.forward import Forward, Gates
from autocompress.models.importance import Importance
from autocompress.techniques.building import build_candidate

attentions.register_attentions()
ids = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(0))
mask = torch.ones_like(ids)
mask[1, 6:] = 0
types = (ids % 2).clone()
errors, spread = {}, []

def compare(name, logits, expected):
    tokens = mask.bool() if logits.ndim == 3 else slice(None)
    spread.append(float(expected.std()))
    errors[name] = float((logits[tokens] - expected[tokens]).abs().max())

for kind, folder in zip((AutoModelForSequenceClassification, AutoModelForTokenClassification), sys.argv[1:], strict=True):
    model = kind.from_pretrained(folder, attn_implementation="autocompress_full").eval()
    family = load_family(model.config.model_type)
    with torch.no_grad():
        for name, given in {"plain": None, "types": types}.items():
            batch = {"input_ids": ids, "attention_mask": mask} | ({} if given is None else {"token_type_ids": given})
            expected = model(**batch).logits
            compare(f"{kind.__name__} {name}", Forward(model, family)(**batch).logits, expected)
            compare(f"{kind.__name__} {name} folded", FoldedForward(model, family)(**batch).logits, expected)

model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], attn_implementation="autocompress_full").eval()
importance = Importance(np.arange(8.0).reshape(2, 4), np.arange(128.0).reshape(2, 64), removal=(0, 1))
candidate = build_candidate(model, Recipe(depth=2, head_sparsity=0.5, ffn_sparsity=0.5), importance)
heads = [torch.tensor([[float(h >= 4 - kept) for h in range(4)]]).expand(3, -1) for kept in candidate.heads]
neurons = [torch.tensor([[float(n >= 64 - kept) for n in range(64)]]).expand(3, -1) for kept in candidate.neurons]
batch = {"input_ids": ids, "attention_mask": mask}
with torch.no_grad():
    sliced = Forward(candidate.model, candidate.family)(**batch).logits
    compare("sliced in transformers", candidate.model(**batch).logits, sliced)
    compare("gates", Forward(model, family)(**batch, gates=Gates(heads, neurons)).logits, sliced)
print(json.dumps([errors, min(spread), sum(candidate.heads), sum(candidate.neurons)]))
"""


@pytest.mark.slow
def test_the_added_family_and_its_block_compute_what_transformers_does(
    extended: ExtendedPackage, tmp_path: Path
) -> None:
    classes = ("AutoModelForSequenceClassification", "AutoModelForTokenClassification")
    folders = [nomic_model(tmp_path / name, name) for name in classes]
    errors, spread, heads, neurons = json.loads(extended.python(FAMILY, *folders))
    assert len(errors) == 10 and spread > 0.05
    assert max(errors.values()) < 1e-4, errors
    assert (heads, neurons) == (4, 64)


def test_a_model_with_unsupported_positions_is_refused_by_the_family(extended: ExtendedPackage) -> None:
    program = """
from autocompress.core.errors import UsageError
from autocompress.models.families import load_family
try:
    load_family("nomic_bert").check({"rope_parameters": {"rope_type": "dynamic"}}, "teacher.model")
except UsageError as error:
    print(error)
"""
    assert "teacher.model: rope_parameters.rope_type: 'dynamic' is not supported" in extended.python(program)
