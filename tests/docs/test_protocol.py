"""Test of the shell examples in docs/protocol.md: they are run on a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.api.conftest import running
from tests.api.uploads.resumable.senders import is_whole

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
LIMIT = 120

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


async def typed(lines: str, folder: Path, port: int, stream_id: str = "") -> str:
    """The output of `lines` in a shell, with this server's port and stream instead of the page's."""
    script = lines.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("rGH…", stream_id)
    run = partial(subprocess.run, ["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True)
    done = await trio.to_thread.run_sync(run)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.decode())


def packets(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines() if line.strip()]


async def test_what_the_page_has_one_type_works(tmp_path: Path) -> None:
    (tmp_path / "front.jpg").write_bytes(b"PHOTO front")
    (tmp_path / "back.jpg").write_bytes(b"PHOTO back")
    part = (
        b'--b\r\nContent-Disposition: form-data; name="front_image"; filename="f"\r\n\r\nPHOTO 2\r\n--b--\r\n'
    )
    (tmp_path / "body").write_bytes(part)
    streamed, buffered, streams, feedback, resumable, tokens = BLOCKS
    with trio.fail_after(LIMIT):
        async with running(tmp_path / "data") as server:
            first = packets(await typed(streamed, tmp_path, server.port))
            assert is_whole(first)
            assert first[0]["sessionId"] == "251231120000"

            objects = await typed(buffered.replace("\n", "; echo\n"), tmp_path, server.port)
            assert [one["complete"] for one in packets(objects)] == [True, True]

            read, polled, _ = (
                await typed(
                    streams.replace("\n", "; echo; echo -\n"), tmp_path, server.port, first[0]["streamId"]
                )
            ).split("-\n", 2)
            assert packets(read) == json.loads(polled) == first

            said = packets(await typed(feedback.replace("\n", "; echo\n"), tmp_path, server.port))
            assert [one["success"] for one in said] == [True, True, True]
            assert said[1]["correctedVerdict"] == "counterfeit"

            resumed = await typed(resumable, tmp_path, server.port)
            assert '"packetType":"ANALYSIS_COMPLETE"' in resumed or '"complete":true' in resumed
            assert "upload-offset: " in resumed.lower()

            refused = packets(
                await typed(f"KEY=none\n{tokens.replace(chr(10), '; echo' + chr(10))}", tmp_path, server.port)
            )
            assert {one["errorCode"] for one in refused} == {"unauthorized"}, "this server has no keys"
