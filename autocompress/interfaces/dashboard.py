"""Serve Optuna Dashboard for a study database: with the right front, and by default on this machine and read-only.

Version 0.21 of the dashboard reads constraints only in their old form and ignores even these for its front, so a trial that
breaks a constraint would be among the best; it orders a study's plots at random, and offers uploads beside downloads. This
module corrects all of that through private names of the dashboard and of Optuna; hence the pinned version, and a test that
fails when the names move.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, BinaryIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import optuna
import optuna_dashboard
import optuna_dashboard._app as dashboard_app
import optuna_dashboard._custom_plot_data as custom_plots
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials as feasible_front
from optuna.trial import FrozenTrial
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from autocompress.core.errors import AutocompressError, UsageError
from autocompress.core.json_types import Json
from autocompress.storage.artifact_store import ArtifactStore, Store
from autocompress.study.connections import connect_read_only, parse_url, sqlite_path
from autocompress.study.study_view import artifact_folders, studies

READING = ("GET", "HEAD")
FILES = ("model.onnx", "model.pt2", "config.json", "tokenizer.json", "recipe.json")  # of a model, on its trial's page
PLOTS = ("front", "growth", "drops")
SCRIPT = "/read-only.js"  # a file, because the page forbids inline scripts
HIDE_UPLOADS = b"""
new MutationObserver(() => document.querySelectorAll(".MuiCard-root:not([hidden])").forEach(card => {
  const title = card.querySelector("h1, h2, h3, h4, h5, h6");
  if (title && title.textContent === "Study Artifacts") { card.hidden = true; card.style.display = "none"; }
})).observe(document.documentElement, {childList: true, subtree: true});
"""
SHA256 = re.compile("[0-9a-f]{64}")
_unordered_plots = custom_plots.list_graph_object_ids


def serve(
    url: str, study: str | None = None, host: str = "127.0.0.1", port: int = 8080, read_only: bool = True
) -> None:
    """Serve the dashboard until it is interrupted; print its address, which opens `study` if one is named.

    Raises UsageError for an unknown storage or study, AutocompressError for a port that cannot be used.
    """
    with open_server(url, study, host, port, read_only) as server:
        print(f"The dashboard is at {server.address} (Ctrl-C stops it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(flush=True)


def open_server(url: str, study: str | None, host: str, port: int, read_only: bool) -> DashboardServer:
    """Return a server that is bound and not yet serving; port 0 takes any free port."""
    names = studies(url)
    if study is not None and study not in names:
        raise UsageError(f"--storage: no study {study!r} (available: {', '.join(names) or 'none'})")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning, module="optuna")  # about few trials, for every page
    storage = DashboardView(url, read_only)
    page = f"/dashboard/studies/{storage.get_study_id_from_name(study)}" if study is not None else "/dashboard"
    try:
        server = DashboardServer((host, port), _QuietHandler)
    except OSError as error:
        raise AutocompressError(
            f"dashboard: port {port} of {host} cannot be used ({error.strerror}); choose another one with --port"
        ) from None
    application = make_application(storage)
    server.set_app(make_read_only(application) if read_only else application)
    server.address = f"http://{host}:{server.server_port}{page}"
    return server


def make_application(storage: DashboardView) -> WSGIApplication:
    """Return the dashboard's WSGI application, with the front computed from feasible trials."""
    dashboard_app.get_pareto_front_trials = front_trials
    custom_plots.list_graph_object_ids = plots_in_order
    application: WSGIApplication = optuna_dashboard.wsgi(storage, artifact_store=storage.models)
    return application


def front_trials(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return the front as `autocompress front` prints it: feasible, without the teacher, one trial per artifact."""
    feasible = feasible_front(list(trials), list(directions), True)
    teacher = next((trial for trial in trials if trial.number == 0 and "uid" in trial.user_attrs), None)
    artifacts = {teacher.user_attrs.get("sha256")} if teacher is not None else set()
    members = []
    for trial in sorted(feasible, key=lambda trial: trial.number):
        artifact = trial.user_attrs.get("sha256", trial.number)
        if trial is not teacher and artifact not in artifacts:
            artifacts.add(artifact)
            members.append(trial)
    return members


def plots_in_order(attributes: Mapping[str, object]) -> list[str]:
    """Return the names of a study's plots in a fixed order: autocompress's first, then the user's."""
    names = set(_unordered_plots(attributes))
    return [*(name for name in PLOTS if name in names), *sorted(names.difference(PLOTS))]


def make_read_only(application: WSGIApplication) -> WSGIApplication:
    """Refuse every request that could change data, since there is no login, and hide the card for uploads."""

    def refuse_writes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in READING:
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [b'{"reason": "This dashboard is read-only."}']
        if path == SCRIPT:
            start_response("200 OK", [("Content-Type", "text/javascript")])
            return [HIDE_UPLOADS]
        if path.startswith("/dashboard"):
            return _add_script(application, environ, start_response)
        return application(environ, start_response)

    return refuse_writes


def _add_script(
    application: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer with the application's page and a script element in its head."""
    answers: list[tuple[str, list[tuple[str, str]]]] = []  # status, headers

    def note_answer(status: str, headers: list[tuple[str, str]], error: object = None, /) -> Callable[[bytes], object]:
        answers.append((status, headers))
        return lambda body: None  # the dashboard returns its body

    uncached = {name: value for name, value in environ.items() if name not in ("HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE")}
    parts = application(uncached, note_answer)
    with ExitStack() as stack:
        if hasattr(parts, "close"):
            stack.callback(parts.close)
        body = b"".join(parts)
    body = body.replace(b"</head>", f'<script src="{SCRIPT}"></script></head>'.encode())
    status, headers = answers[-1]
    kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "last-modified", "etag")]
    start_response(status, [*kept, ("Content-Length", str(len(body)))])
    return [body]


class Models:
    """The files of models under the ids that the dashboard asks for: SHA256-NUMBER, both hexadecimal."""

    def __init__(self, stores: Sequence[ArtifactStore]) -> None:
        self._stores = stores

    def listed(self, sha256: str) -> dict[str, object]:
        """Return the dashboard's descriptions of a model's files, as attributes of its trial; none for a removed model."""
        names = [name for name in FILES if self._file(sha256, name) is not None]
        ids = {f"{sha256}-{FILES.index(name):x}": name for name in names}
        kinds = {".json": "application/json"}
        return {
            f"artifacts:{key}": json.dumps(
                {
                    "artifact_id": key, "filename": name, "encoding": None,
                    "mimetype": kinds.get(Path(name).suffix, "application/octet-stream"),
                }
            )
            for key, name in ids.items()
        }  # fmt: skip

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open a file. Raises ArtifactNotFound if there is none."""
        sha256, _, number = artifact_id.partition("-")
        is_id = SHA256.fullmatch(sha256) is not None and number in {f"{index:x}" for index in range(len(FILES))}
        path = self._file(sha256, FILES[int(number, 16)]) if is_id else None
        if path is None:
            raise ArtifactNotFound(artifact_id)
        return path.open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuse uploads: only searches add models."""
        raise UsageError("dashboard: files cannot be added to a trial")

    def remove(self, artifact_id: str) -> None:
        """Do nothing: trials share models; `autocompress clean` removes models that no study needs."""

    def _file(self, sha256: str, name: str) -> Path | None:
        paths = (store.artifact(sha256) / name for store in self._stores)
        return next((path for path in paths if path.is_file()), None)


class DashboardView(RDBStorage):
    """Optuna's storage for the dashboard: adds constraints in the form that it reads, and each model's files for download."""

    def __init__(self, url: str, read_only: bool = True) -> None:
        path = sqlite_path(parse_url(url))
        kwargs: Json = {"pool_pre_ping": True} if path is None else {"poolclass": NullPool}
        if path is not None and read_only:
            kwargs["creator"] = lambda: connect_read_only(path)
        super().__init__(url, engine_kwargs=kwargs, skip_table_creation=True)
        self.models = Models([Store(folder) for folder in artifact_folders(url)])
        if path is not None and not read_only:
            event.listen(self.engine, "connect", _enable_cascades)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        trials = super()._get_trials(*args, **kwargs)
        for trial in trials:
            if trial.constraints and "constraints" not in trial.system_attrs:
                trial.system_attrs["constraints"] = [value for _, value in sorted(trial.constraints.items())]
            trial.system_attrs.update(self._files(trial))
        return trials

    def get_trial_system_attrs(self, trial_id: int) -> Json:
        """Return the stored attributes and the model's files."""
        return super().get_trial_system_attrs(trial_id) | self._files(self.get_trial(trial_id))

    def _files(self, trial: FrozenTrial) -> dict[str, object]:
        sha256 = trial.user_attrs.get("sha256")
        return self.models.listed(sha256) if isinstance(sha256, str) and SHA256.fullmatch(sha256) else {}


def _enable_cascades(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Make SQLite delete the autocompress rows of a deleted study, as database servers do."""
    connection.cursor().execute("PRAGMA foreign_keys=ON")


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Handles each request in a thread, because a page sends several at once."""

    daemon_threads = True
    address = ""

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is inherited
        """Log no requests."""
