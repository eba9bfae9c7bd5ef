"""`query-rewrite train-encoder` and `query-rewrite train-rephrase`, on the command line."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rewrite_service.options import one_of

_console = Console()


def train_encoder(
    log: Annotated[
        list[Path], typer.Option(help="Interaction log: JSON lines (plain or gzip) or Parquet. Repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the encoder; replaced as a whole when all is done.")],
    loss: Annotated[str, typer.Option(help="in-batch, corpus, or decomposable; see docs/encoder.md.")] = "",
    batch: Annotated[int | None, typer.Option(min=2, help="Pairs a step.")] = None,
    pairs_seen: Annotated[int | None, typer.Option(min=2, help="Pairs in all; steps = pairs / batch.")] = None,
    layers: Annotated[
        int | None, typer.Option(min=0, help="0, the default: a table of word pieces. Else so many layers of the base.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-7, max=1.0, help="At its highest.")] = None,
    stay_near: Annotated[
        float | None, typer.Option(min=0, help="How much the vectors of what was meant stay where they were.")
    ] = None,
    order: Annotated[str, typer.Option(help="mixed, clean-first, or misheard-first.")] = "",
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same encoder.")] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="What to begin from: an encoder's folder with --layers 0 (default: the shipped one), else a "
            "sentence-transformers model (default: all-MiniLM-L6-v2)."
        ),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the log's turns, the last, to judge by.")
    ] = 0.2,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = 2,
    forgotten: Annotated[
        Path | None, typer.Option(help="State folder whose forgotten users are left out; default: the servers' store.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train an encoder on texts of one meaning that a log holds: failures and their repairs, and words for one thing.

    Stopped, the same command goes on where it was. Needs the extra `train`. Then: `query-rewrite build --encoder DIR`.

    Example: `query-rewrite train-encoder --log day1.jsonl.gz --out var/encoder`
    """
    from rewrite_service.forgetting import tombstones_of
    from rewrite_service.progress import Progress
    from rewrite_service.settings import load_settings

    try:
        from retriever.training.losses import Loss
        from retriever.training.train import WITH_LAYERS, Order, TrainSettings
        from rewrite_service.encoder_training import train_encoder as run
    except ModuleNotFoundError as error:
        print(f"error: train-encoder needs {error.name}: pip install 'query-rewrite[train]'", file=sys.stderr)
        raise typer.Exit(1) from None
    given: dict[str, Any] = {
        "loss": one_of(Loss, loss, "--loss"),
        "batch": batch,
        "pairs_seen": pairs_seen,
        "layers": layers,
        "learning_rate": learning_rate,
        "stay_near": stay_near,
        "order": one_of(Order, order, "--order"),
        "seed": seed,
    }
    settings = replace(WITH_LAYERS if layers else TrainSettings(), **{k: v for k, v in given.items() if v is not None})
    report = run(
        log,
        out,
        settings,
        Progress(quiet),
        base=base,
        held_out_share=held_out,
        threads=threads,
        say=lambda line: _console.print(line, soft_wrap=True),
        tombstones=tombstones_of(load_settings(), forgotten),
    )
    judged = report["held_out"]
    table = Table("held-out days, by meaning alone", *judged, box=None)
    for name in judged["trained"]:
        table.add_row(name, *(f"{figures[name]:g}" for figures in judged.values()))
    _console.print(table)
    _console.print(f"encoder in {out}; next: query-rewrite build --encoder {out} ...", soft_wrap=True)
    if judged["trained"]["recall@20"] <= judged["as shipped"]["recall@20"]:
        _console.print("note: it finds no more than the one that is shipped; nothing is gained by it")


def train_rephrase(
    log: Annotated[
        list[Path], typer.Option(help="Interaction log: JSON lines (plain or gzip) or Parquet. Repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the model; replaced as a whole when all is done.")],
    encoder: Annotated[
        Path | None, typer.Option(help="Encoder that train-encoder made; name the same one to build.")
    ] = None,
    passes: Annotated[int | None, typer.Option(min=1, help="Over all dialogues.")] = None,
    members: Annotated[int | None, typer.Option(min=1, max=16, help="Models that are averaged.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, max=8, help="Of attention.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Dialogues a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-7, max=1.0, help="At its highest.")] = None,
    shown: Annotated[
        int | None, typer.Option(min=0, help="Interrupted dialogues that are made of each that holds a rephrase.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same model.")] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the log's turns, the last, to judge by.")
    ] = 0.2,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = 2,
    forgotten: Annotated[
        Path | None, typer.Option(help="State folder whose forgotten users are left out; default: the servers' store.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a model that finds the rephrase of a failed request in a dialogue, also after a change of subject.

    It learns from the log alone. Stopped, the same command goes on where it was. Needs the extra `train`. Then:
    `query-rewrite build --rephrase-model DIR`.

    Example: `query-rewrite train-rephrase --log day1.jsonl.gz --out var/rephrase`
    """
    from rewrite_service.forgetting import tombstones_of
    from rewrite_service.progress import Progress
    from rewrite_service.settings import load_settings

    try:
        from mining.training.train import TrainSettings
        from rewrite_service.rephrase_training import train_rephrase as run
    except ModuleNotFoundError as error:
        print(f"error: train-rephrase needs {error.name}: pip install 'query-rewrite[train]'", file=sys.stderr)
        raise typer.Exit(1) from None
    given: dict[str, Any] = {
        "passes": passes,
        "members": members,
        "layers": layers,
        "batch": batch,
        "learning_rate": learning_rate,
        "shown": shown,
        "seed": seed,
    }
    report = run(
        log,
        out,
        TrainSettings(**{k: v for k, v in given.items() if v is not None}),
        Progress(quiet),
        encoder=encoder,
        held_out_share=held_out,
        threads=threads,
        say=lambda line: _console.print(line, soft_wrap=True),
        tombstones=tombstones_of(load_settings(), forgotten),
    )
    judged = report["held_out"]
    table = Table("held-out days, F1 of the rephrases found", "by the model", "by the rules", box=None)
    table.add_row("as the log has them, by the rules' own verdicts", f"{judged['as found']['model']:g}", "")
    table.add_row("with unrelated turns between", *(f"{judged['interrupted'][by]:g}" for by in ("model", "rules")))
    _console.print(table)
    _console.print(f"model in {out}; next: query-rewrite build --rephrase-model {out} ...", soft_wrap=True)
