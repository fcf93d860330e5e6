"""Tests of `pinactors feedback export`: a set of what people said, without photographs that are gone."""

from __future__ import annotations

from pathlib import Path

import trio

from pinactors.evaluation import dataset
from pinactors.protocol import View
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.images import ImageStore
from tests import drawing
from tests.cli.samples import call, seal
from tests.records.samples import record


def test_confirmed_analyses_become_a_labelled_set(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    pictures = [drawing.jpeg(drawing.pin_front(seed).rgb) for seed in (1, 2)]

    async def fill() -> str:
        store = ImageStore(settings.images_folder)
        store.prepare()
        kept, gone = (store.save(picture) for picture in pictures)
        records = await Records.open(settings)
        for stream_id, image in (("s1", kept), ("s2", gone)):
            number = await records.save(record(stream_id, images={View.FRONT: image}), seal)
            await records.confirm(number, "260630120000", "agree", None, "1")
        await records.close()
        return gone.path

    Path(trio.run(fill)).unlink()
    done = call("feedback", "export", tmp_path / "set", "--data", tmp_path / "data")
    assert done.exit_code == 0, done.output
    assert "1 labelled and 0 disagreed photo sets" in done.stdout
    assert "1 were left out: their photographs are gone" in done.stderr
    (photo,) = dataset.load(tmp_path / "set").photos
    assert photo.kind == "genuine"
    assert photo.images[View.FRONT].read_bytes() == pictures[0]
