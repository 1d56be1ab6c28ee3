"""model2vec's static classifier, from the pretrained model that the teacher was fine-tuned from: no transformer.

As its documentation on training says: `distill` with its defaults, then `StaticModelForClassification.fit` on texts and labels
with its defaults, and `to_pipeline`, which needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peer_recipes import Peer
from benchmarks.peers_cases import Case, Text, join_texts


def build(case: Case, folder: Path) -> None:
    """Distil the pretrained model into static vectors, and train the classifier."""
    from model2vec.distill import distill
    from model2vec.train import StaticModelForClassification

    train, validation = case.rows("train"), case.rows("validation")
    classifier = StaticModelForClassification.from_static_model(model=distill(case.base))
    classifier.fit(
        join_texts(train.texts),
        [str(label) for label in train.labels],
        X_val=join_texts(validation.texts),
        y_val=[str(label) for label in validation.labels],
        random_seed=case.seed,
    )
    classifier.to_pipeline().save_pretrained(str(folder / "model"))


def open_model(case: Case, folder: Path, threads: int) -> Callable[[Text], int]:
    """Return a function from a text to its label."""
    from model2vec.inference import StaticModelPipeline

    pipeline = StaticModelPipeline.from_pretrained(str(folder / "model"))
    return lambda text: int(pipeline.predict(join_texts([text]))[0])


PEER = Peer(
    title="model2vec, static classifier",
    kind="no transformer",
    environment="model2vec",
    packages=("model2vec", "transformers"),
    build=build,
    open_model=open_model,
    model_files=("model/*",),
)
