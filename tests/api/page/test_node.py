"""The JavaScript client in Node, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from functools import partial
from importlib import resources
from pathlib import Path

import pytest

from pinactors.api.openapi import description
from pinactors.api.page import pages
from tests.api.conftest import launch

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("script", ["client", "resumable"])
def test_javascript_client_in_node(tmp_path: Path, script: str) -> None:
    process, port = launch(tmp_path / "data")
    try:
        result = subprocess.run(
            [str(NODE), "--test", str(Path(__file__).with_name(f"{script}.test.mjs"))],
            env=os.environ | {"PINACTORS_TEST_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert result.returncode == 0, result.stdout
    assert "fail 0" in result.stdout


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("script", ["delivery", "bare"])
def test_delivery_over_connections_that_fail_and_where_little_is_there(script: str) -> None:
    result = subprocess.run(
        [str(NODE), "--test", str(Path(__file__).with_name(f"{script}.test.mjs"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "fail 0" in result.stdout


def test_the_types_name_every_field_the_server_sends() -> None:
    text = resources.files("pinactors.api.page").joinpath("client", "pinactors.d.ts").read_text("utf-8")
    schemas = description()["components"]["schemas"]
    sent = [schemas[packet["$ref"].rsplit("/", 1)[1]] for packet in schemas["Packet"]["oneOf"]]
    sent += [schemas[name] for name in ("Box", "Evidence", "Candidate", "Estimate", "PinConfirmed")]
    names = {name for schema in sent for name in schema["properties"]}
    words = {
        value for name in ("View", "Verdict", "ErrorCode", "Agreement") for value in schemas[name]["enum"]
    }
    assert len(names) > 40
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\??:", text)] == []
    assert [word for word in sorted(words) if f'"{word}"' not in text] == []


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_the_client_is_a_package(tmp_path: Path) -> None:
    """The npm package contains the files that the server delivers, and can be imported by its name."""
    client = Path(str(resources.files("pinactors.api.page"))) / "client"
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    packed = json.loads(
        run(["npm", "pack", "--json", "--pack-destination", str(tmp_path)], cwd=client).stdout
    )
    names = {file["path"] for file in packed[0]["files"]}
    expected = {"package.json", "README.md", "pinactors.js", "pinactors.d.ts", "react.js", "react.d.ts"}
    assert names == expected
    assert set(pages.CLIENT) < names
    folder = tmp_path / "node_modules"
    folder.mkdir()
    run(["tar", "-xzf", str(tmp_path / packed[0]["filename"]), "-C", str(folder)])
    (folder / "package").rename(folder / "pinactors")
    program = "import * as p from 'pinactors'; console.log(Object.keys(p).sort().join())"
    found = run([str(NODE), "--input-type=module", "-e", program], cwd=tmp_path).stdout.strip()
    assert found == "PinactorsError,analyze,cancel,confirm,follow,merge,resume"
