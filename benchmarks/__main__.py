"""`python -m benchmarks NAME`: the benchmarks, one command each."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from rich.console import Console

from benchmarks import overhead

errors = Console(stderr=True)
app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Benchmarks; each says what it does while it runs."
)

Quick = Annotated[bool, typer.Option("--quick", help="Short: proves that it works, its figures mean little.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file.", show_default=False)
]


@app.callback()
def benchmarks() -> None:
    """Figures depend on the machine and on what else runs on it: compare figures of one run."""


@app.command("overhead")
def overhead_(quick: Quick = False, json_file: Json = None) -> None:
    """What the pipeline costs when components do nothing: throughput, delay, memory, loop stalls."""
    with errors.status("starting") as status:
        result = trio.run(partial(overhead.measure, status.update, quick=quick))
    report(result, json_file)


def report(result: dict[str, Any], json_file: Path | None) -> None:
    text = json.dumps(result, indent=2)
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    app()
