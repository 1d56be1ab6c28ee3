"""Torch-Pruning, then fine-tuning.

As in its examples for transformers: one step, the same ratio everywhere, whole heads, importance by Taylor expansion over 10
batches, and the option `bottleneck`, which keeps the hidden width (without it, a quarter less lost 8 points on 1,000 rows of
trec); then training on the labels, here with the settings that fine-tuned the teacher. The ratio is chosen among three: the
largest whose accuracy on validation is within 1 point of the teacher, else the most accurate.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peer_recipes._training import draw_batches, encode_rows, pad, predict_logits, train
from benchmarks.peer_recipes._transformers import INPUTS, export_onnx, load_model, open_onnx
from benchmarks.peers_cases import Case

RATIOS = (0.25, 0.5, 0.75)
MAX_DROP = 0.01
IMPORTANCE_BATCHES = 10


def build(case: Case, folder: Path) -> Built:
    """Prune the teacher by each ratio, train each, and export the chosen one."""
    import torch

    rows, validation = case.rows("train"), case.rows("validation")
    inputs, validation_inputs = encode_rows(case, rows.texts), encode_rows(case, validation.texts)
    settings, batch = case.fine_tuning, int(case.fine_tuning["batch"])

    def accuracy_of(model: Any) -> float:
        predicted = predict_logits(model, validation_inputs).argmax(-1).numpy()
        return float((predicted == validation.labels).mean())

    goal = accuracy_of(load_model(case.teacher)) - MAX_DROP
    models, accuracies = {}, {}
    for ratio in RATIOS:
        drawn = draw_batches(len(inputs), batch, IMPORTANCE_BATCHES, case.seed)
        batches = ((pad([inputs[row] for row in chosen]), torch.from_numpy(rows.labels[chosen])) for chosen in drawn)
        model = models[ratio] = prune(load_model(case.teacher), ratio, batches)
        train(model, inputs, rows.labels, epochs=settings["epochs"], learning_rate=settings["learning_rate"], batch=batch,
              seed=case.seed)  # fmt: skip
        accuracies[ratio] = accuracy_of(model)
    best = choose_ratio(accuracies, goal)
    export_onnx(models[best], folder / "model.onnx")
    tried = ", ".join(f"{ratio:g}: {100 * accuracy:.1f}" for ratio, accuracy in accuracies.items())
    return Built(notes=f"pruned {best:g} of heads and neurons; validation by ratio: {tried}")


def choose_ratio(accuracies: dict[float, float], goal: float) -> float:
    """Return the largest ratio that reaches the goal, else the most accurate one."""
    reaching = [ratio for ratio, accuracy in accuracies.items() if accuracy >= goal]
    return max(reaching) if reaching else max(accuracies, key=accuracies.__getitem__)


def prune(model: Any, ratio: float, batches: Iterable[tuple[dict[str, Any], Any]]) -> Any:
    """Remove a fraction of the heads and neurons of a BERT classifier; `batches` are inputs and labels."""
    import torch
    import torch_pruning
    from transformers.models.bert.modeling_bert import BertOutput, BertSelfAttention, BertSelfOutput

    for inputs, labels in batches:  # the importance reads the gradients
        torch.nn.functional.cross_entropy(model(**inputs).logits, labels).backward()  # type: ignore[no-untyped-call]
    attentions = [module for module in model.modules() if isinstance(module, BertSelfAttention)]
    heads = {
        matrix: module.num_attention_heads
        for module in attentions
        for matrix in (module.query, module.key, module.value)
    }
    outputs = [module.dense for module in model.modules() if isinstance(module, (BertOutput, BertSelfOutput))]
    pruner = torch_pruning.pruner.BasePruner(
        model,
        {name: torch.ones(1, 9, dtype=torch.int64) for name in INPUTS},
        importance=torch_pruning.importance.GroupTaylorImportance(),
        pruning_ratio=ratio,
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        head_pruning_ratio=ratio,
        output_transform=lambda output: output.logits.sum(),
        ignored_layers=[*outputs, model.bert.pooler.dense, model.classifier],
    )
    pruner.step()
    for module in attentions:
        module.num_attention_heads = pruner.num_heads[module.query]
        module.all_head_size = module.query.out_features
        module.attention_head_size = module.all_head_size // module.num_attention_heads
    model.zero_grad()
    return model


PEER = Peer(
    title="Torch-Pruning and fine-tuning, fp32",
    kind="trained",
    environment="torch_pruning",
    packages=("torch-pruning", "torch", "onnxruntime"),
    build=build,
    open_model=open_onnx,
    model_files=("model.onnx*",),
)
