"""Tests that this release opens the data folder of release 0.1.0: records, packets, photographs, a catalogue,
and a session that was running when its server was killed."""

from __future__ import annotations

import sqlite3
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from typer.testing import CliRunner

from pinactors.catalog.importing.importer import rebuild_catalog
from pinactors.catalog.models import DATABASE_FILE as CATALOG_FILE
from pinactors.catalog.models import SCHEMA_VERSION
from pinactors.catalog.reader import Catalog
from pinactors.cli import app
from pinactors.pipeline import session
from pinactors.pipeline.actors import intake
from pinactors.protocol import AnyPacket
from pinactors.records.database import DATABASE_FILE
from tests.api.conftest import Running, running
from tests.api.wire import ask

FIXTURES = Path(__file__).with_name("fixtures")
SENT = (FIXTURES / "first_release.ndjson").read_bytes()
STREAM = msgspec.json.decode(SENT.splitlines()[0])["streamId"]
UNFINISHED = "UnSHIuQscNkzH3cLN6KWi2hZA4MepRU3"
WRITTEN_IN = b"/tmp/ops/firstdata/"
"""The data folder of the first release when it wrote the fixture: its logs have absolute photograph paths."""
NDJSON = "application/x-ndjson"
KILLED_AT = 1795863928.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with tarfile.open(FIXTURES / "first_release.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    log = folder / "journal" / f"{UNFINISHED}.journal"
    log.write_bytes(log.read_bytes().replace(WRITTEN_IN, f"{folder}/".encode()))
    return folder


@pytest.fixture
async def server(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A server of this release on that folder; its sessions' clock starts when the first one was killed."""
    later = time.time() - KILLED_AT
    for module in (session, intake):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() - later))
    async with running(data, replay=1e9) as server:  # its packets are older than the default allows
        yield server


async def test_records_packets_and_the_session_under_way(server: Running) -> None:
    answer = await ask(server.port, "GET", f"/streams/{STREAM}?offset=-1", headers={"Accept": NDJSON})
    assert answer.body.split() == SENT.split(), "packets are read again as they were sent"

    answer = await ask(server.port, "GET", "/api/records/1")
    record = answer.json()
    assert (record["id"], record["sessionId"]) == (1, "first-release-1")
    assert record["candidates"][0]["pinId"] == "DEMO-01"

    answer = await ask(server.port, "GET", f"/streams/{UNFINISHED}?offset=-1", headers={"Accept": NDJSON})
    packets = [msgspec.json.decode(line) for line in answer.body.splitlines() if line.strip()]
    assert [packet["sequence"] for packet in packets] == list(range(8))
    last = packets[-1]
    assert last["packetType"] == "ANALYSIS_COMPLETE"
    assert (last["id"], last["degraded"], last["missing"]) == (2, [], [])
    sizes = next(packet for packet in packets if packet["packetType"] == "DETAILED_ANALYSIS")["details"]
    assert sizes == {"bytes": {"front": 28017, "back": 39295, "angled": None}}, "its photographs are there"

    answer = await ask(server.port, "GET", "/api/records")
    listed = {row["recordNumber"]: row for row in answer.json()["records"]}
    assert listed[1]["userAgreement"] == "agree"
    assert listed[1]["views"] == ["back", "front"]
    assert set(listed) == {1, 2}


def test_every_packet_it_sent_is_one_of_ours() -> None:
    """Fails if a field was removed or has another type; new fields must have defaults."""
    for line in SENT.splitlines():
        if line.strip():
            decoded = msgspec.json.decode(line, type=AnyPacket)
            sent = msgspec.json.decode(line)
            again = msgspec.json.decode(msgspec.json.encode(decoded))
            assert sent.keys() <= again.keys()
            for name in sent.keys() - {"evidence", "candidates"}:
                assert again[name] == sent[name], name


def test_its_catalogue_is_opened_and_rebuilt(data: Path) -> None:
    folder = data / "catalog"
    catalog = Catalog.open(folder)
    assert catalog.outdated
    assert [pin.name for pin in catalog.pins()] == ["Marlo the Fox", "Gustav Keeps the Night"]
    assert len(catalog.sales("DEMO-01")) + len(catalog.sales("DEMO-02")) == 57
    report = rebuild_catalog(folder)
    assert (report.size, report.problems) == (2, [])
    rebuilt = Catalog.open(folder)
    assert not rebuilt.outdated
    assert rebuilt.demonstration
    assert [pin.name for pin in rebuilt.pins()] == ["Marlo the Fox", "Gustav Keeps the Night"]


@pytest.mark.parametrize(
    ("file", "change", "arguments", "sentence"),
    [
        (
            DATABASE_FILE,
            "UPDATE schema_version SET version=99",
            ["records", "list"],
            "database has schema 99",
        ),
        (
            f"catalog/{CATALOG_FILE}",
            f"UPDATE fact SET value = '{SCHEMA_VERSION + 1}' WHERE name = 'schema'",
            ["catalog", "rebuild"],
            f"catalogue has schema {SCHEMA_VERSION + 1}",
        ),
    ],
)
def test_a_newer_schema_is_refused_with_a_sentence(
    data: Path, file: str, change: str, arguments: list[str], sentence: str
) -> None:
    connection = sqlite3.connect(data / file)
    connection.execute(change)
    connection.commit()
    connection.close()
    result = CliRunner().invoke(app, [*arguments, "--data", str(data)])
    assert result.exit_code == 1
    said = result.stderr.strip().splitlines()[-1]
    assert sentence in said
    assert "this program supports only up to" in said
    assert "Traceback" not in result.stderr
