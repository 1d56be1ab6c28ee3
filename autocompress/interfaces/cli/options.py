"""Arguments and options of the command line: their types, bounds and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from autocompress.actions.inventory import KINDS

Study = Annotated[str, typer.Argument(help="A study file, or the name of a study.", metavar="STUDY")]
TrialA = Annotated[
    str, typer.Argument(help="A trial, STUDY:TRIAL, as in studies/sst2.yaml:12; or a study.", metavar="A")
]
TrialB = Annotated[
    str, typer.Argument(help="The trial beside it: likewise, or its number in the same study.", metavar="B")
]
MaybeStudy = Annotated[str | None, typer.Argument(help="A study file, or the name of a study.", metavar="[STUDY]")]
Storage = Annotated[str | None, typer.Option(help="The database, instead of the study file's: an SQLAlchemy URL.")]
Model = Annotated[str, typer.Argument(help="A transformers folder, or a hub name.", metavar="MODEL")]
Data = Annotated[str, typer.Argument(help="A data file, or a folder with one for each split.", metavar="DATA")]
StudyFile = Annotated[Path, typer.Option("--to", metavar="FILE", help="The study file to write.")]
TextColumn = Annotated[str | None, typer.Option("--text", metavar="COLUMN", help="The text; else guessed.")]
PairColumn = Annotated[str | None, typer.Option("--pair", metavar="COLUMN", help="The second text; else guessed.")]
LabelColumn = Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="The label; else guessed.")]
MaxDrop = Annotated[float | None, typer.Option(min=0, help="Most quality to lose; 0.01 = 1 point.")]
MaxLatency = Annotated[float | None, typer.Option(min=0, help="Longest latency, in ms.")]
MaxSize = Annotated[float | None, typer.Option(min=0, help="Largest size, in MB of 10⁶ bytes.")]
Prefer = Annotated[
    Literal["quality", "latency_ms", "size_mb"] | None,
    typer.Option(help="What to be best at; without it the model in the middle, the knee."),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Say why, what neighbours trade, and what looser constraints would bring.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask a hub.")]

Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all, earlier runs included.")]
Time = Annotated[str | None, typer.Option(help="Time in all, earlier runs included: 90s, 30m, 2h.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Trials at a time.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change a key of the study file.")
]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run a metric that lies on the hub.")]

To = Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")]
Trial = Annotated[int | None, typer.Option(min=0, help="The trial; without it, as pick would choose.")]
Again = Annotated[int, typer.Option("--trial", min=0, help="The trial to do again.")]
Form = Annotated[Literal["onnx", "transformers"], typer.Option(help="What to write.")]
Page = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="The page to write; else STUDY/report.html.")]
NoAblation = Annotated[
    bool, typer.Option("--no-ablation", help="Do not measure what each decision gave; that takes seconds for each.")
]
NoExamples = Annotated[bool, typer.Option("--no-examples", help="Leave texts of the data out of the page.")]
Told = Annotated[int | None, typer.Option("--trial", min=0, help="The trial to tell most of; else what pick names.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is in the folder.")]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An exported folder.")]
Reference = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A folder to alternate with: the teacher's, perhaps.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; without it, as it was measured first.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Texts at a time; likewise.")]
Tokens = Annotated[int | None, typer.Option(min=2, help="Tokens a text; likewise.")]

Port = Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0: any port that is free.")]
Host = Annotated[str, typer.Option(help="Likewise; anything but localhost lets others in.")]
Writable = Annotated[bool, typer.Option("--writable", help="Let visitors rename and delete studies.")]

On = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="NAME", help="On which of the study's devices; all: on the worst of them each time."
    ),
]
Device = Annotated[str | None, typer.Option(metavar="URL", help="Measure on the device whose agent listens there.")]
TokenEnv = Annotated[str, typer.Option(metavar="NAME", help="The environment variable that holds the agent's token.")]
Ca = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="TLS: the certificate to trust, if it is your own."),
]
AgentFolder = Annotated[Path | None, typer.Option("--folder", metavar="DIR", help="Where models are kept.")]
Certificate = Annotated[
    Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="For TLS: the certificate, PEM.")
]
CertificateKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", exists=True, dir_okay=False, help="For TLS: its private key, PEM."),
]
MaxGb = Annotated[float, typer.Option(min=0.1, help="GB of models that are kept; those used longest ago go first.")]
RunGb = Annotated[float, typer.Option(min=0.5, help="GB of memory that a run may take.")]
RunSeconds = Annotated[float, typer.Option(min=10, help="Seconds that a run may take.")]

Kind = Annotated[str | None, typer.Argument(metavar="[KIND]", help=f"One of {', '.join(KINDS)}.")]
Cache = Annotated[bool, typer.Option("--cache", help="The caches of the stages instead of models.")]
Yes = Annotated[bool, typer.Option("--yes", help="Really remove it.")]
