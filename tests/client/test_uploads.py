"""Tests of an upload's body: its parts in order, and any piece of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.client.uploads import Part, UploadContent, read_whole, sizes_of
from pinactors.protocol import View


async def test_the_front_comes_first_and_the_size_is_known(tmp_path: Path) -> None:
    path = tmp_path / "front.jpg"
    path.write_bytes(b"the front")
    images = {View.ANGLED: b"tilted", View.FRONT: path}
    photographs = UploadContent(images, session_id="s1", webhook="https://example.com/")
    assert photographs.views == [View.FRONT, View.ANGLED]
    body = await photographs.multipart()
    whole = b"".join([await read_whole(content) for content in body.contents])
    assert len(whole) == body.size == sum(await sizes_of(body))
    boundary = body.content_type.partition("boundary=")[2]
    parts = whole.split(b"--" + boundary.encode())
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [
        b"s1\r\n",
        b"https://example.com/\r\n",
        b"the front\r\n",
        b"tilted\r\n",
    ]
    assert parts[-1] == b"--\r\n"


async def test_any_piece_of_a_body_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "front.jpg"
    path.write_bytes(b"GHIJKLMNOP")
    body = await UploadContent({View.FRONT: path, View.BACK: b"abcdef"}, session_id="s1").multipart()
    sizes = await sizes_of(body)
    whole = b"".join([await read_whole(content) for content in body.contents])
    for start, length in ((0, len(whole)), (whole.index(b"KLM"), 5), (whole.index(b"OP"), 200)):
        part, found = Part(body, sizes, start, length), b""
        while piece := await part.read(len(found)):
            found += piece
        assert found == whole[start : start + length]
    path.write_bytes(b"GHI")
    with pytest.raises(OSError, match="became shorter"):
        await Part(body, sizes, whole.index(b"OP"), 2).read(0)


def test_without_a_front_there_is_no_upload() -> None:
    with pytest.raises(ValueError, match="front image"):
        UploadContent({View.BACK: b"back"})
