"""TF-IDF and logistic regression: no transformer.

As in scikit-learn's example "Sample pipeline for text feature extraction and evaluation": the settings of both come from a grid
with cross-validation on train.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peer_recipes import Built, Peer
from benchmarks.peers_cases import Case, Text, join_texts

GRID = {"tfidf__ngram_range": [(1, 1), (1, 2)], "regression__C": [1.0, 10.0, 100.0]}
FOLDS = 3


def build(case: Case, folder: Path) -> Built:
    """Choose the settings and learn all training rows."""
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    rows = case.rows("train")
    pipeline = Pipeline([
        ("tfidf", TfidfVectorizer(sublinear_tf=True)),
        ("regression", LogisticRegression(max_iter=1000, random_state=case.seed)),
    ])  # fmt: skip
    search = GridSearchCV(pipeline, GRID, cv=FOLDS, n_jobs=-1).fit(join_texts(rows.texts), rows.labels)
    joblib.dump(search.best_estimator_, folder / "model.joblib")
    return Built(notes=f"{search.best_params_}, cross-validation {100 * search.best_score_:.1f}")


def open_model(case: Case, folder: Path, threads: int) -> Callable[[Text], int]:
    """Return a function from a text to its label."""
    import joblib

    pipeline = joblib.load(folder / "model.joblib")
    return lambda text: int(pipeline.predict(join_texts([text]))[0])


PEER = Peer(
    title="TF-IDF and logistic regression",
    kind="no transformer",
    packages=("scikit-learn",),
    build=build,
    open_model=open_model,
    model_files=("model.joblib",),
)
