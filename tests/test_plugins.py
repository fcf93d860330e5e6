"""Plug-ins: how they are found, and the effect of faulty ones."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from pinactors import plugins
from pinactors.compute import ScratchFull
from pinactors.pipeline.declaration import Analysis, Place, SharedStep
from pinactors.pipeline.registry import open_registry
from pinactors.protocol import CharacterIdentification, DetailedAnalysis
from pinactors.protocol.merge import merge
from pinactors.settings import Settings, SettingUnusable
from tests.conftest import ErrorLogs
from tests.pipeline.fakes import ANALYSIS, Die, FakeCompute, FakeRecords, Seen, upload, watch_raw
from tests.pipeline.opinions import Opinion, component, good, with_component

LIMIT = 120
ALLOWED = 4.0
"""Seconds that a function of a plug-in may take: more than a good one needs on a busy machine."""


async def blocks(context: Any, first: Seen) -> Opinion:
    time.sleep(1.5 * ALLOWED)  # noqa: ASYNC251 - that is the misbehaviour
    return Opinion(opinion="late")


async def never(context: Any, first: Seen) -> Opinion:
    await trio.sleep_forever()
    raise AssertionError


async def another_type(context: Any, first: Seen) -> Any:
    await trio.lowlevel.checkpoint()
    return {"opinion": "no packet"}


async def floods(context: Any, first: Seen) -> Opinion:
    await trio.lowlevel.checkpoint()
    return Opinion(opinion="x" * 50_000_000)


async def raises(context: Any, first: Seen) -> Opinion:
    await trio.lowlevel.checkpoint()
    raise ValueError("a bug of theirs")


async def leaves(context: Any, first: Seen) -> Opinion:
    await trio.lowlevel.checkpoint()
    raise SystemExit(3)


async def leaves_in_a_group(context: Any, first: Seen) -> Opinion:
    async with trio.open_nursery() as nursery:  # which makes a group of its exception  # noqa: ASYNC112
        nursery.start_soon(leaves, context, first)
    raise AssertionError


async def cancelled_by_asyncio(context: Any, first: Seen) -> Opinion:
    await trio.lowlevel.checkpoint()
    raise asyncio.CancelledError


MISBEHAVING = [
    blocks,
    never,
    another_type,
    floods,
    raises,
    leaves,
    leaves_in_a_group,
    cancelled_by_asyncio,
]


async def session(
    data: Path, analysis: Analysis, content: str = "pin", compute: FakeCompute | None = None
) -> dict[str, dict[str, Any]]:
    """Runs one session on the real clock, and returns its packets by type."""
    async with open_registry(
        analysis,
        compute or FakeCompute(),
        FakeRecords(),  # type: ignore[arg-type]
        Settings(data=data, deadline=20.0, basic_reserve=1.0),
    ) as registry:
        packets = await watch_raw(await registry.open(upload(content=content)))
    return {each["packetType"]: each for each in map(msgspec.json.decode, packets)}


OTHERS = {
    "CONNECTION_ESTABLISHED",
    "PROCESSING_STARTED",
    "AUTHENTICATION_RESULT",
    "CHARACTER_IDENTIFICATION",
    "PRICING_ANALYSIS",
    "DETAILED_ANALYSIS",
    "HTML_DISPLAY_DATA",
    "ANALYSIS_COMPLETE",
}


async def test_a_component_in_a_loop_of_its_own(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        packets = await session(tmp_path, with_component(good))
    assert packets["SECOND_OPINION"]["opinion"] == "front pin front"
    assert packets["ANALYSIS_COMPLETE"]["degraded"] == packets["ANALYSIS_COMPLETE"]["missing"] == []
    answer = merge([msgspec.json.encode(packet) for packet in packets.values()])
    assert answer["opinion"] == "front pin front"


@pytest.mark.parametrize("misbehaving", MISBEHAVING)
async def test_misbehaviour_costs_its_own_packet_and_no_other(
    misbehaving: Callable[..., Any], tmp_path: Path, error_logs: ErrorLogs
) -> None:
    order: list[str] = []
    with trio.fail_after(LIMIT):
        analysis = with_component(misbehaving, seconds=ALLOWED)
        settings = Settings(data=tmp_path, deadline=20.0, basic_reserve=1.0)
        records: Any = FakeRecords()
        async with open_registry(analysis, FakeCompute(), records, settings) as registry:
            log = await registry.open(upload())
            while not log.closed:
                await log.wait_beyond(len(order))
                order += [msgspec.json.decode(packet)["packetType"] for packet in log.packets[len(order) :]]
                if len(order) == len(OTHERS) - 1:
                    assert "ANALYSIS_COMPLETE" not in order  # all others precede its timeout
            end = msgspec.json.decode(log.packets[-1])
    assert set(order) == OTHERS
    assert (end["missing"], end["degraded"]) == (["opinion"], [])
    assert error_logs.take("component missing")["component"] == "opinion"


async def test_a_component_that_keeps_failing_trips_its_breaker(
    tmp_path: Path, error_logs: ErrorLogs
) -> None:
    settings = Settings(data=tmp_path, breaker_failures=2)
    records: Any = FakeRecords()
    with trio.fail_after(LIMIT):
        async with open_registry(
            with_component(never, seconds=0.1), FakeCompute(), records, settings
        ) as registry:
            for number in range(3):
                await watch_raw(await registry.open(upload(content=f"pin {number}")))
                error_logs.take("component missing")
            assert registry.statistics()["breakers"] == {"opinion": "open"}
    skipped = [entry for entry in error_logs.entries if entry["event"] == "full analysis skipped"]
    assert len(skipped) == 1


async def refined(context: Any, first: Seen, hint: str) -> CharacterIdentification:
    await trio.lowlevel.checkpoint()
    return CharacterIdentification(characters="theirs", identification=hint, candidates=[])


async def asked(context: Any, first: Seen, owner: str) -> str:
    await trio.lowlevel.checkpoint()
    return f"hint for {first.text} of {owner or 'nobody'}"


async def away(context: Any, first: Seen, owner: str) -> str:
    await trio.lowlevel.checkpoint()
    raise ConnectionError("nobody answers")


@pytest.mark.parametrize("works", [True, False])
async def test_wrapping_one_of_the_five_around_a_shared_step_in_a_loop(works: bool, tmp_path: Path) -> None:
    step = SharedStep("hint", ("front", "owner"), asked if works else away, place=Place.LOOP, seconds=ALLOWED)
    wrapped = ANALYSIS.component("characters").wrapped(refined, ("front", "hint"), place=Place.LOOP)
    with trio.fail_after(LIMIT):
        packets = await session(tmp_path, ANALYSIS.adding([step], [wrapped]))
    end, found = packets["ANALYSIS_COMPLETE"], packets["CHARACTER_IDENTIFICATION"]
    if works:
        assert (found["characters"], found["identification"]) == (
            "theirs",
            "hint for front pin front of nobody",
        )
        assert end["degraded"] == []
    else:  # the built-in component's result, as without the plug-in
        assert found["characters"] == "Figaro"
        assert end["degraded"] == ["characters"]


async def described(context: Any, first: Seen) -> DetailedAnalysis:
    await trio.lowlevel.checkpoint()
    return DetailedAnalysis(analysis=first.text, details={})


STEP_IN_LOOP = ANALYSIS.adding(
    [SharedStep("hint", ("front", "owner"), asked, place=Place.LOOP)],
    [ANALYSIS.component("characters").wrapped(refined, ("hint", "owner"), place=Place.LOOP)],
)
COMPONENT_IN_LOOP = ANALYSIS.adding(
    components=[ANALYSIS.component("details").wrapped(described, ("front",), place=Place.LOOP)]
)


@pytest.mark.parametrize(
    ("analysis", "affected"), [(STEP_IN_LOOP, "characters"), (COMPONENT_IN_LOOP, "details")]
)
@pytest.mark.parametrize("deaths", [1, 9])
async def test_a_worker_that_dies_with_a_value_for_a_loop_is_no_failure_of_the_function(
    deaths: int, analysis: Analysis, affected: str, tmp_path: Path
) -> None:
    """The value is copied by a job, which is repeated as others are; the function's breaker is not asked."""
    compute, records = FakeCompute(), FakeRecords()
    for _ in range(deaths):
        compute.plan("identity", Die)
    settings = Settings(data=tmp_path, breaker_failures=1, restart_backoff=0.01)
    with trio.fail_after(LIMIT):
        async with open_registry(analysis, compute, records, settings) as registry:  # type: ignore[arg-type]
            packets = await watch_raw(await registry.open(upload()))
            assert registry.statistics()["breakers"] == {}
    end = msgspec.json.decode(packets[-1])
    assert (end["degraded"], end["missing"]) == ([affected] if deaths > settings.restarts else [], [])


@pytest.mark.parametrize("analysis", [STEP_IN_LOOP, COMPONENT_IN_LOOP])
async def test_a_value_for_a_loop_that_is_gone_ends_the_session(analysis: Analysis, tmp_path: Path) -> None:
    compute = FakeCompute()
    compute.always["identity"] = [ScratchFull("its file was removed")]
    with trio.fail_after(LIMIT):
        packets = await session(tmp_path, analysis, compute=compute)
    assert packets["ERROR"]["errorCode"] == "overloaded"


def slow(context: Any, first: Seen) -> Opinion:
    while True:
        time.sleep(0.01)


async def test_a_run_in_a_worker_is_bounded_as_well(tmp_path: Path, error_logs: ErrorLogs) -> None:
    with trio.fail_after(LIMIT):
        packets = await session(tmp_path, with_component(slow, place=Place.WORKER, seconds=0.2))
    assert packets["ANALYSIS_COMPLETE"]["missing"] == ["opinion"]
    assert error_logs.take("component missing")["component"] == "opinion"
    failed = [entry for entry in error_logs.entries if entry["event"] == "full analysis failed"]
    assert "slow took longer than 0.2 s" in failed[0]["error"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("a_plugin")
    monkeypatch.setitem(sys.modules, "a_plugin", made)
    return made


def test_the_setting_names_plugins_and_the_declaration_says_whose_each_is(module: ModuleType) -> None:
    module.declare = lambda settings, analysis: analysis.adding(components=[component(good)])  # type: ignore[attr-defined]
    analysis = plugins.apply(Settings(components="a_plugin:declare"), ANALYSIS)
    assert {each.name: each.declared_by for each in analysis.components if each.name != "opinion"} == {
        each.name: "pinactors" for each in ANALYSIS.components
    }
    assert analysis.component("opinion").declared_by == "a_plugin:declare"


def test_packages_announce_plugins_by_entry_point(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module.declare = lambda settings, analysis: analysis.adding(components=[component(good)])  # type: ignore[attr-defined]
    installed = tmp_path / "their_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pinactors.components]\nopinion = a_plugin:declare\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert plugins.apply(Settings(), ANALYSIS).component("opinion").declared_by == "a_plugin:declare"


def _fail(settings: Settings, analysis: Analysis) -> Analysis:
    raise KeyError("bug")


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("nonsense", None, "expected module:function"),
        ("no_such_module_at_all:declare", None, "cannot be loaded: ModuleNotFoundError"),
        ("a_plugin:missing", None, "cannot be loaded: AttributeError"),
        ("a_plugin:declare", _fail, "KeyError"),
        ("a_plugin:declare", lambda settings, analysis: None, "returned NoneType, not an Analysis"),
        (
            "a_plugin:declare",
            lambda settings, analysis: analysis.adding(components=[replace(component(good), needs=("x",))]),
            "unknown needs",
        ),
    ],
)
def test_one_that_cannot_be_used_is_said_in_one_line(
    source: str, function: Callable[..., Any] | None, message: str, module: ModuleType
) -> None:
    if function is not None:
        module.declare = function  # type: ignore[attr-defined]
    with pytest.raises(SettingUnusable, match=message) as said:
        plugins.apply(Settings(components=source), ANALYSIS)
    assert "\n" not in str(said.value)
