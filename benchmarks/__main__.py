"""`python -m benchmarks NAME`: the benchmarks, one command each; `all` runs those whose figures the README
shows."""

from __future__ import annotations

import json
import resource
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
import typer

from benchmarks import Say, null, overhead, readers, report, scale
from benchmarks.commands import (
    ALL,
    SAME_ANALYSIS,
    Designs,
    Folder,
    Json,
    Page,
    Quick,
    Seed,
    Trace,
    TraceDir,
    chosen_designs,
    errors,
    folder_or_own,
    links_of,
    run,
    write,
)
from benchmarks.faults import chaos
from benchmarks.links import cuts, netem
from benchmarks.load import capacity, comparison
from benchmarks.machines import proxy
from pinactors.simulation import profiles

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

QUICK_LOAD: dict[str, Any] = {"seconds": 1.0, "rate": 3.0, "pins": 1, "catalogue": 2, "repeats": 1}
QUICK_OVERLOAD: dict[str, Any] = {
    "seconds": 0.5,
    "capacity_seconds": 1.0,
    "sessions_a_core": 1,
    "least": 1,
    "pins": 1,
    "catalogue": 2,
}
QUICK_SCALE: dict[str, Any] = {
    "sessions": (10, 20),
    "sizes": (100, 300),
    "seconds": 0.3,
    "spread": 0.3,
    "photographs": 2,
    "drawn": 2,
}


@app.callback()
def benchmarks() -> None:
    """Figures depend on the machine and its other load: compare only figures of one run.

    Each benchmark prints its progress while it runs.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # of this process and the servers it starts


@app.command("all")
def all_(
    trace_dir: TraceDir = None,
    folder: Folder = None,
    seed: Seed = 1,
    quick: Quick = False,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """The run whose figures the README shows: link, overload, load, null and scale, a quarter of an hour."""
    links = links_of("lte", None, trace_dir)
    with folder_or_own(folder) as kept:
        small, few, least = (QUICK_OVERLOAD, QUICK_LOAD, QUICK_SCALE) if quick else ({}, {}, {})
        designs = chosen_designs("ours,buffered" if quick else SAME_ANALYSIS)
        peers = chosen_designs("ours,buffered" if quick else ALL)
        rounds, seconds = (1, 0.3) if quick else (3, 3.0)
        parts: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "link": partial(netem.measure, quick=quick),
            "overload": partial(capacity.measure, folder=kept, seed=seed, **small),
            "load": partial(comparison.measure, links=links, designs=designs, folder=kept, seed=seed, **few),
            "null": partial(null.measure, designs=peers, rounds=rounds, seconds=seconds),
            "scale": partial(scale.measure, **least),
        }
        results: dict[str, dict[str, Any]] = {}
        for name, measure in parts.items():
            if name == "load" and not quick:
                measure = partial(measure, capacity=results["overload"]["capacity"])
            results[name] = run(measure, f"{name}: ")
            if json_file is not None:  # after each part, so that its figures are kept if a later part fails
                json_file.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    typer.echo(json.dumps(results, indent=2))
    if page is not None:
        report.write(list(results.values()), page)


@app.command("link")
def link_(quick: Quick = False, json_file: Json = None, page: Page = None) -> None:
    """The simulated cellular link compared with arithmetic, and with tc netem if the machine has it."""
    write(run(partial(netem.measure, quick=quick)), json_file, page)


@app.command("load")
def load_(
    profile: Annotated[str, typer.Option(help=f"The link: {', '.join(profiles.NAMES)}.")] = "lte",
    trace: Trace = None,
    trace_dir: TraceDir = None,
    designs: Designs = SAME_ANALYSIS,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Arrivals a second, instead of --share.", show_default=False),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.01, help="Arrivals as a share of our measured capacity.")
    ] = 0.5,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Time in which they arrive, for each design.")
    ] = 60.0,
    desktops: Annotated[float, typer.Option(min=0, max=1, help="Share of desktops among them.")] = 0.15,
    drops: Annotated[
        float, typer.Option(min=0, max=1, help="Share of phones whose connection is cut once.")
    ] = 0.1,
    pins: Annotated[int, typer.Option(min=1, help="Pins photographed.")] = 6,
    seed: Seed = 1,
    folder: Folder = None,
    quick: Quick = False,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """Phones on cellular links and desktops: ours, the peers and the physical limit."""
    given = {"seconds": seconds, "rate": rate, "share": share, "pins": pins} | (QUICK_LOAD if quick else {})
    links = links_of(profile, trace, trace_dir)
    with folder_or_own(folder) as kept:
        measure = partial(
            comparison.measure,
            links=links,
            designs=chosen_designs(designs),
            folder=kept,
            desktops=desktops,
            drops=drops,
            seed=seed,
            **given,
        )
        result = run(measure)
    write(result, json_file, page)


@app.command("overload")
def overload_(
    times: Annotated[
        float, typer.Option(min=0.1, help="Arrivals as a multiple of our measured capacity.")
    ] = 4.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time in which they arrive.")] = 30.0,
    deadline: Annotated[
        float | None, typer.Option(min=1, help="Of a session, instead of the default.", show_default=False)
    ] = None,
    seed: Seed = 1,
    folder: Folder = None,
    quick: Quick = False,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """Our capacity at saturation, and how four times as many uploads end."""
    given = {"seconds": seconds} | (QUICK_OVERLOAD if quick else {})
    with folder_or_own(folder) as kept:
        measure = partial(capacity.measure, folder=kept, times=times, deadline=deadline, seed=seed, **given)
        result = run(measure)
    write(result, json_file, page)


@app.command("null")
def null_(
    designs: Designs = ALL,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="Seconds of each design in each round.")] = 4.0,
    quick: Quick = False,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """Sessions a second with components that return immediately: our server and the peers."""
    if quick:
        rounds, seconds = 1, 0.3
    measure = partial(null.measure, designs=chosen_designs(designs), rounds=rounds, seconds=seconds)
    write(run(measure), json_file, page)


@app.command("scale")
def scale_(
    quick: Quick = False,
    labelled: Annotated[
        Path | None,
        typer.Option("--set", help="Labelled set whose photographs are searched, as evaluate takes it."),
    ] = None,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """Open sessions against memory and packet delay; catalogue size against search time and memory."""
    measure = partial(scale.measure, **(QUICK_SCALE if quick else {}), labelled=labelled)
    write(run(measure), json_file, page)


@app.command("overhead")
def overhead_(quick: Quick = False, json_file: Json = None, page: Page = None) -> None:
    """The cost of the pipeline if components do nothing: throughput, delay, memory, loop stalls."""
    write(run(partial(overhead.measure, quick=quick)), json_file, page)


@app.command("readers")
def readers_(
    count: Annotated[
        int, typer.Option("--readers", min=1, help="Connections that follow one stream.")
    ] = 1000,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    peer: Annotated[bool, typer.Option(help="Measure the public server too; needs Node and npm.")] = True,
    quick: Quick = False,
    json_file: Json = None,
) -> None:
    """Packets a second to many readers of one stream: our server and the public Durable Streams server."""
    if quick:
        count, rounds = 20, 1
    measure = partial(readers.measure, readers=count, rounds=rounds, peer=peer, quick=quick)
    write(run(measure), json_file)


@app.command("proxy")
def proxy_(
    sessions: Annotated[int, typer.Option(min=1, help="Pairs of uploads, directly and through it.")] = 200,
    held: Annotated[int, typer.Option(min=1, help="Sessions held open for its memory.")] = 200,
    quick: Quick = False,
    json_file: Json = None,
) -> None:
    """The cost of the proxy: the delay added to each packet, CPU and memory per session."""
    if quick:
        sessions, held = 5, 5

    async def measure(say: Say) -> dict[str, Any]:
        return {"benchmark": "proxy", **await proxy.measure(sessions, held, say)}

    write(run(measure), json_file)


@app.command("cluster")
def cluster_(
    only: Annotated[str | None, typer.Option(help="ray or masters.", show_default="both")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Start what docs/deploy describes, on this machine, and try it.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="With --demo: end after it has been tried.")] = False,
    quick: Quick = False,
    json_file: Json = None,
) -> None:
    """Ray nodes compared with local workers, and several masters on one PostgreSQL, also while they fail."""
    from benchmarks.machines import cluster, cluster_demo  # loaded here because only this command needs them

    if demo:
        return trio.run(partial(cluster_demo.run, errors.print, stay=not once))
    if only not in (None, *cluster.PARTS):
        raise typer.BadParameter(f"parts are {', '.join(cluster.PARTS)}, not {only}")
    write(
        run(partial(cluster.measure, parts=[only] if only else list(cluster.PARTS), quick=quick)), json_file
    )


@app.command("cuts")
def cuts_(
    profile: Annotated[str, typer.Option(help=f"The link: {', '.join(profiles.NAMES)}.")] = "3g",
    trace: Trace = None,
    trace_dir: TraceDir = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two cuts.")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, help="Pairs on each link, from other moments on.")] = 3,
    clients: Annotated[str, typer.Option(help="Which clients, separated by commas.")] = ",".join(
        cuts.CLIENTS
    ),
    analysis: Annotated[bool, typer.Option(help="Analyse; without, only the way there and back.")] = True,
    folder: Folder = None,
    quick: Quick = False,
    json_file: Json = None,
) -> None:
    """Phones whose connection is cut repeatedly, compared with the same phones without cuts."""
    links = links_of(profile, trace, trace_dir)
    with folder_or_own(folder) as kept:
        measure = partial(
            cuts.measure,
            links=links,
            folder=kept,
            every=2.0 if quick else every,
            rounds=1 if quick else rounds,
            clients=clients.split(","),
            analysis=analysis and not quick,
            quick=quick,
        )
        result = run(measure)
    write(result, json_file)


app.command("chaos")(chaos.main)


@app.command("fuzz")
def fuzz_(
    minutes: Annotated[float, typer.Option(help="For all targets together.")] = 10.0,
    found: Annotated[Path, typer.Option(help="Folder that keeps inputs that hurt.")] = Path("fuzz-found"),
) -> None:
    """Look for inputs that cause failures in parsers and servers; status 1 if there are any."""
    from benchmarks.faults import fuzz  # loaded here because only this command needs it

    findings = fuzz.run(minutes, found, errors.print)
    for name, count in findings.items():
        errors.print(f"{name}: {count or 'nothing'} found")
    raise typer.Exit(1 if any(findings.values()) else 0)


@app.command("hostile")
def hostile_(
    count: Annotated[int, typer.Option(help="How many hostile uploads.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of the uploads.")] = 1,
    analysis: Annotated[
        bool, typer.Option(help="Analyse what decodes after all, which takes most of the time.")
    ] = False,
    quick: Quick = False,
    json_file: Json = None,
) -> None:
    """Send hostile uploads to a server; status 1 if one caused a failure or an honest upload in between was
    lost."""
    from benchmarks.faults import hostile  # loaded here because only this command needs it

    result = run(partial(hostile.measure, count=200 if quick else count, seed=seed, analysis=analysis))
    write(result, json_file)
    wrong = hostile.failures(result)
    for line in wrong:
        errors.print(line, style="red")
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    app()
