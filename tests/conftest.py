"""Fixtures for all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from structlog.testing import capture_logs

from pinactors.compute.process_limits import prefer_one_thread
from tests.ray_cluster import start_cluster

# Here, and not in a fixture: numpy reads it when it is imported. Threads that wait actively would take the
# processor from the other tests.
prefer_one_thread()

# No limit for one example: a busy machine is slower than any, and the failure is not the program's.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.hookimpl(optionalhook=True)  # defined by pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """The number of processes for `-n auto`: at least four, because most tests wait for servers and browsers
    that they have started. On two cores four take a third less time than two."""
    return max(4, os.cpu_count() or 1)


FIRST = ("tests/benchmarks/", "tests/evaluation/", "tests/cli/test_demo.py")
"""Where single tests take half a minute or more. Begun last, they would run while other processes have
nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests on Ray first and together, so that one process starts a cluster; then `FIRST`."""

    def later(item: pytest.Item) -> tuple[bool, bool]:
        on_ray = "[ray" in item.nodeid or "ray_address" in getattr(item, "fixturenames", ())
        return not on_ray, not item.nodeid.startswith(FIRST)

    items.sort(key=later)


class ErrorLogs:
    """The log entries of one test. An ERROR entry that the test does not `take` makes the test fail."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries
        self._taken: list[int] = []

    def take(self, event: str) -> dict[str, Any]:
        """Returns the first ERROR entry `event` that was not taken yet, and marks it as expected. Raises
        `AssertionError` if there is none."""
        for number, entry in enumerate(self.entries):
            if number not in self._taken and _is_error(entry) and entry["event"] == event:
                self._taken.append(number)
                return dict(entry)
        raise AssertionError(f"no ERROR line {event!r} among {self.entries}")

    @property
    def unexpected(self) -> list[Any]:
        return [
            entry
            for number, entry in enumerate(self.entries)
            if number not in self._taken and _is_error(entry)
        ]


def _is_error(entry: Any) -> bool:
    return entry["log_level"] in ("error", "critical", "exception")


@pytest.fixture(autouse=True)
def unconfigured_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps commands that run in this process from configuring its logs: loggers keep their first
    configuration, so that their entries could not be captured in later tests."""
    monkeypatch.setattr("pinactors.logs.configure", lambda _: None)


@pytest.fixture(autouse=True)
def error_logs(caplog: pytest.LogCaptureFixture) -> Iterator[ErrorLogs]:
    """Captures the structured log. An ERROR entry that was not taken makes the test fail, and so does each
    ERROR record of `logging`."""
    with capture_logs() as entries:
        logs = ErrorLogs(entries)
        yield logs
    assert logs.unexpected == []
    plain = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert plain == []


@pytest.fixture(scope="session", autouse=True)
def _no_data_folder_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Moves the default data folder, so that no test touches the developer's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """The address of a Ray cluster with one node and two CPUs."""
    with start_cluster() as cluster:
        yield cluster.address


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A value of the setting `compute`. For `ray`, a cluster is running and its address is set."""
    if request.param == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray_address"))
    return str(request.param)
