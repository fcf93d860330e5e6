"""A server's catalogue follows what is published."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from pinactors.catalog import published, snapshots
from pinactors.catalog.published import PublishedCatalog
from pinactors.settings import Settings, SettingUnusable
from pinactors.storage.objects import open_objects

TIMEOUT = 30


def publish(settings: Settings, content: bytes) -> str:
    source = settings.data / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "index").write_bytes(content)
    return snapshots.publish(source, open_objects(settings), lambda done, total: None)


async def test_the_latest_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "LOOK_SECONDS", 0.01)
    settings = Settings(data=tmp_path, storage=f"file:{tmp_path / 'shared'}", catalog_version="latest")
    publish(settings, b"one")
    with trio.fail_after(TIMEOUT):
        catalog = PublishedCatalog(settings)
        first = await catalog.open()
        assert (first / "index").read_bytes() == b"one"
        assert first.parent == tmp_path / "catalogs"
        async with trio.open_nursery() as nursery:
            sender, receiver = trio.open_memory_channel[Path](1)
            nursery.start_soon(catalog.follow, sender.send_nowait)
            publish(settings, b"two")
            second = await receiver.receive()
            nursery.cancel_scope.cancel()
        assert (second / "index").read_bytes() == b"two"
        assert (first / "index").read_bytes() == b"one", "sessions under way still read it"


async def test_a_version_stays(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, storage=f"file:{tmp_path / 'shared'}", catalog_version="latest")
    version = publish(settings, b"one")
    publish(settings, b"two")
    fixed = settings.model_copy(update={"catalog_version": version})
    assert ((await PublishedCatalog(fixed).open()) / "index").read_bytes() == b"one"


@pytest.mark.parametrize("version", ["latest", "0" * 16])
async def test_what_was_never_published_is_one_clear_line(tmp_path: Path, version: str) -> None:
    settings = Settings(data=tmp_path, catalog_version=version)
    with pytest.raises(SettingUnusable, match=f"catalog_version {version}: it was never published"):
        await PublishedCatalog(settings).open()
