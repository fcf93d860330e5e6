"""Tests that run the benchmarks' commands from end to end. No test asserts a speed."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio

from benchmarks import figures, plots
from benchmarks.faults import hostile
from benchmarks.load import capacity, visits
from benchmarks.load.arrivals import Arrival, arrive
from benchmarks.peers.start import DESIGNS, unavailable
from pinactors.simulation.profiles import PACKET_BYTES

ROOT = Path(__file__).parent.parent.parent
HERE = [design for design in DESIGNS if design != "express" and not unavailable(design)]


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks", *arguments, "--quick"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "figures.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads((tmp_path / "figures.json").read_text())
    return result


def drawn(page: Path) -> str:
    """The page's text, after checking that every plot is well-formed."""
    text = page.read_text("utf-8")
    plots_ = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert plots_
    for svg in plots_:
        ElementTree.fromstring("<svg" + svg)
    return text


def capture(folder: Path, name: str) -> None:
    """Writes a capture of a link of 12 Mbit/s."""
    for way in ("up", "down"):
        (folder / f"{name}.{way}.gz").write_bytes(
            gzip.compress(b"".join(b"%d\n" % n for n in range(1, 1001)))
        )


def test_the_named_run(tmp_path: Path) -> None:
    traces, page = tmp_path / "traces", tmp_path / "page.html"
    traces.mkdir()
    capture(traces, "One-LTE")
    capture(traces, "Two-UMTS")
    results = run(tmp_path, "all", "--trace-dir", str(traces), "--report", str(page))
    assert list(results) == ["link", "overload", "load", "null", "scale"]
    text = drawn(page)
    for name in results:
        assert f"<h2>{name}</h2>" in text

    for case in results["link"]["cases"]:
        opportunity = PACKET_BYTES * 8 / (case["megabits_per_second"] * 1e6)  # the first one may come at once
        rounding = 0.0005  # opportunities are at whole milliseconds
        assert case["simulated_seconds"] >= case["ideal_seconds"] - opportunity - rounding, "never early"

    overload = results["overload"]
    assert overload["capacity"]["sessions"] > 0
    assert 0 < overload["capacity"]["share_of_available"] <= 1.1
    outcomes = ("complete", "failed", "refused", "lost")
    assert sum(overload[name] for name in outcomes) == overload["arrived"] > 0
    assert overload["lost"] == 0

    assert results["load"]["links"] == ["One-LTE", "Two-UMTS"]
    assert list(results["load"]["designs"]) == ["ours", "buffered"]
    for name, design in results["load"]["designs"].items():
        assert (design["complete"], design["lost"]) == (design["sessions"], 0)
        assert sum(row["cut"] for row in design["visits"]) == 0
        # A peer's phone sends its upload again if the answer is silent for long, as on a busy machine.
        assert design["analyses_beyond_one_each"] == 0 or name != "ours"
        assert design["cpu_seconds_per_session"] > 0
        for row in design["visits"]:
            if row["phone"]:  # no phone can be faster than its link
                assert row["first"] > row["limit"]["upload"]
                assert row["authenticated"] > row["limit"]["upload"]
                assert row["first"] <= row["authenticated"] <= row["completed"]
    assert results["load"]["designs"]["buffered"]["paired"]["n"] > 0

    assert set(results["scale"]["sessions"]) == {"10", "20"}
    small, large = (results["scale"]["catalogue"][size] for size in ("100", "300"))
    assert small["found"] == large["found"] == 1.0
    assert large["file_megabytes"] > small["file_megabytes"]


def test_null_beside_every_peer_there_is(tmp_path: Path) -> None:
    result = run(tmp_path, "null", "--designs", ",".join(HERE))
    assert {name.partition(",")[0] for name in result["designs"]} == set(HERE)
    for each in result["designs"].values():
        assert each["sessions_per_second"] > 0
        assert each["seconds_per_session"]["n"] > 0


def test_readers_of_one_stream(tmp_path: Path) -> None:
    result = run(tmp_path, "readers", "--no-peer")
    assert set(result["servers"]) == {"ours"}
    ours = result["servers"]["ours"]
    assert ours["packets"] == ours["seconds_from_result_to_reader"]["n"] == 20 * 5
    assert ours["packets_per_second"] > 0
    assert result["skipped"] == {"durable-streams": "not asked for"}


def test_the_proxy(tmp_path: Path) -> None:
    result = run(tmp_path, "proxy")
    assert (result["benchmark"], result["sessions"]) == ("proxy", 5)
    assert result["packets"] == 5 * 8


@pytest.mark.parametrize("client", ["python", "javascript"])
def test_cuts(tmp_path: Path, client: str) -> None:
    if client == "javascript" and shutil.which("node") is None:
        pytest.skip("Node is not installed")
    traces = tmp_path / "traces"
    traces.mkdir()
    for way in ("up", "down"):  # 2 Mbit/s, silent for a tenth of each second
        times = (n for n in range(6, 6001, 6) if n % 1000 > 100)
        (traces / f"Slow-UMTS.{way}").write_text("".join(f"{n}\n" for n in times))
    result = run(tmp_path, "cuts", "--trace-dir", str(traces), "--clients", client)
    [pair] = result["links"]["Slow-UMTS"][client]["pairs"]
    uncut, cut = pair["uncut"], pair["cut"]
    assert uncut["cuts"] == 0 < cut["cuts"]
    assert cut["connections"] > uncut["connections"]
    assert uncut["upload"] == cut["upload"] > 600_000
    assert cut["authenticated"] >= 2.0, "nobody is faster than the link"
    for phone in (uncut, cut):
        assert phone["upload"] < phone["delivered"] <= phone["offered"]
    heads = 2_000 * cut["connections"]
    assert cut["delivered"] < cut["upload"] + heads, "no byte that arrived is sent again"


def test_a_folder_without_captures_is_refused_by_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "load", "--trace-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no NAME.up and NAME.down" in " ".join(done.stderr.replace("│", " ").split())


def test_arrivals_are_a_poisson_process_fixed_by_its_seed() -> None:
    def come(seed: int) -> list[Arrival]:
        return arrive(8.0, 60.0, desktops=0.25, pins=3, links=2, drops=0.25, seed=seed)

    arrivals = come(7)
    assert arrivals == come(7) != come(8)
    assert 393 <= len(arrivals) <= 567, "480 expected, four deviations either way"
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(arrivals)]
    assert min(gaps) >= 0
    spread = statistics.pstdev(gaps) / statistics.fmean(gaps)
    assert 0.8 <= spread <= 1.2, "as wide as they are long: nothing is evened out"
    phones = [arrival for arrival in arrivals if arrival.phone]
    assert 0.66 <= len(phones) / len(arrivals) <= 0.84
    assert {arrival.pin for arrival in arrivals} == {0, 1, 2}
    assert {arrival.link for arrival in arrivals} == {0, 1}
    cut = [arrival for arrival in arrivals if arrival.cut is not None]
    assert all(arrival.phone for arrival in cut)
    assert 0.15 <= len(cut) / len(phones) <= 0.35


def test_a_short_run_has_an_arrival_all_the_same() -> None:
    (only,) = arrive(0.001, 1.0, desktops=1.0, pins=1, links=1, drops=0.0, seed=1)
    assert only.phone
    assert only.at <= 1.0


def test_each_fate_under_overload_is_counted_once() -> None:
    def visit(**given: Any) -> capacity.UploadOutcome:
        return capacity.UploadOutcome(status=200, first=0.1, **given)

    visits = [
        capacity.UploadOutcome(status=503),
        visit(named=3.0, priced=3.1, ended=12.0, complete=True),
        visit(named=9.0, priced=11.0, ended=90.5, complete=True, degraded=True, timed_out=True),
        visit(ended=91.5),
        visit(lost="the answer broke off"),
    ]
    found = capacity.summary(visits, deadline=90.0)
    counts = {
        name: found[name] for name in ("arrived", "refused", "complete", "failed", "degraded", "timed_out")
    }
    assert counts == {"arrived": 5, "refused": 1, "complete": 2, "failed": 1, "degraded": 1, "timed_out": 1}
    assert (found["lost"], found["past_deadline"], found["priced_soon"]) == (1, 1, 1)
    assert (found["named"]["n"], found["priced"]["max"]) == (2, 11.0)
    assert found["first"] is not None
    assert found["first"]["n"] == 4


def test_packets_are_noted_as_they_come() -> None:
    visit = capacity.UploadOutcome()

    async def take() -> None:
        tap = trio.current_time() - 2.0
        visit.note(tap, {"packetType": "CONNECTION_ESTABLISHED"})
        visit.note(tap - 0.5, {"packetType": "CHARACTER_IDENTIFICATION"})
        visit.note(tap - 0.6, {"packetType": "PRICING_ANALYSIS"})
        visit.note(tap - 1, {"packetType": "AUTHENTICATION_RESULT", "note": "Analysis timed out"})
        visit.note(tap - 2, {"packetType": "ANALYSIS_COMPLETE", "degraded": [], "missing": ["pricing"]})

    trio.run(take)
    assert visit.first == pytest.approx(2.0, abs=0.5)
    assert visit.authenticated is not None
    assert visit.ended is not None
    assert visit.named is not None
    assert visit.priced is not None
    assert visit.first < visit.named < visit.priced < visit.authenticated < visit.ended
    assert (visit.complete, visit.degraded, visit.timed_out) == (True, True, True)


def test_phones_are_compared_with_the_same_ones() -> None:
    designs: dict[str, dict[str, Any]] = {
        "ours": {"visits": [{"authenticated": each} for each in (1.0, 2.0, 4.0, None)]},
        "peer": {"visits": [{"authenticated": each} for each in (2.0, 1.0, 12.0, 5.0)]},
    }
    visits.compare(designs)
    assert designs["peer"]["paired"] == {"n": 3, "ours_sooner": pytest.approx(2 / 3), "median_ratio": 2.0}
    assert "paired" not in designs["ours"]


METRICS = """# HELP a_total b
a_total{x="1"} 2.0
a_total{x="2"} 3.0
b_total 7.0
a_total_more 9.0
s_bucket{le="0.05"} 4.0
s_bucket{le="0.1"} 6.0
"""


def test_a_metric_is_summed_over_its_labels_and_read_by_its_buckets() -> None:
    assert figures.total(METRICS, "a_total") == 5.0
    assert figures.total(METRICS, "b_total") == 7.0
    assert figures.bucket(METRICS, "s", "0.1") == 6.0
    assert figures.bucket(METRICS, "s", "0.2") == 0.0


def test_who_never_came_keeps_the_curve_below_one() -> None:
    assert plots.cumulative([3.0, None, 1.0, None]) == [(1.0, 0.25), (3.0, 0.5)]


def test_plots_are_well_formed_and_escape_their_labels() -> None:
    hostile = "<script>&"
    for svg in (
        plots.plot([(hostile, [(0.1, 1.0), (2.0, 3.0)]), ("b", [])], hostile, "y", marks=[(hostile, 1.0)]),
        plots.plot([("a", [(10.0, 1.0), (5000.0, 2.0)])], "x", "y", log=True),
        plots.bar_chart([(hostile, 3.0), ("b", 1.0)]),
    ):
        ElementTree.fromstring(svg)
        assert hostile not in svg
    assert plots.plot([("nothing", [])], "x", "y") == ""


@pytest.mark.parametrize("values", [[], [None]])
def test_no_figure_is_made_of_nothing(values: list[float | None]) -> None:
    assert figures.percentiles(values) is None


def test_masters_on_one_database(tmp_path: Path) -> None:
    result = run(tmp_path, "cluster", "--only", "masters")
    if reason := result["skipped"].get("masters"):
        pytest.skip(reason)
    measured = result["masters"]
    assert measured["hop"]["seen_seconds"]["n"] > measured["hop"]["kept_seconds"]["n"] > 0
    assert (
        measured["packet_delay_seconds"]["own"]["n"] == measured["packet_delay_seconds"]["other"]["n"] == 20
    )
    assert measured["held"]["packet_delay_seconds"]["n"] > 0


def test_hostile_uploads_hurt_nobody(tmp_path: Path) -> None:
    result = run(tmp_path, "hostile")
    assert sum(result["statuses"].values()) + result["unanswered"] == result["uploads"] == 200
    assert result["statuses"].keys() <= {"200", "400", "413", "415", "422", "429", "503"}
    assert result["honest"] == {"answered": 1, "lost": 0}
    assert hostile.failures(result) == []
    wrong = {**result, "statuses": {"500": 2, "503": 1}, "honest": {"answered": 0, "lost": 1}}
    before = {"uploads": 500, "server": 100 << 20, "workers": 300 << 20}
    after = {"uploads": 200, "server": 130 << 20, "workers": 310 << 20}
    assert hostile.failures({**wrong, "memory": [before, after]}) == [
        "2 answers of 500",
        "1 honest uploads not answered",
        "memory of the server grew from 100 to 130 MiB",
    ]
