"""Tests of the npm clients that the documentation names, with a real server. Skipped if not installable."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.conftest import launch
from tests.api.page.conftest import chromium

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "api" / "page" / "client"
PACKAGES = ("tus-js-client@4", "@microsoft/fetch-event-source@2", "react@18", "react-test-renderer@18")


@dataclass(frozen=True)
class Site:
    """A folder with the npm packages and the project's own client installed, and the port of a server."""

    folder: Path
    port: int

    def node(self, script: str) -> str:
        """Runs `script` in Node and returns what it prints."""
        shutil.copy(HERE / script, self.folder)
        found = subprocess.run(
            ["node", script],
            cwd=self.folder,
            env=os.environ | {"PINACTORS_TEST_PORT": str(self.port)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert found.returncode == 0, found.stderr + found.stdout
        return found.stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    quiet = ["--silent", "--no-audit", "--no-fund", "--prefer-offline"]
    installed = subprocess.run(["npm", "install", *quiet, *PACKAGES], cwd=folder, check=False)
    if installed.returncode:
        pytest.skip("the packages cannot be installed")
    shutil.copytree(CLIENT, folder / "node_modules" / "pinactors")
    process, port = launch(folder / "data")
    try:
        yield Site(folder, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def test_our_hook_in_react(site: Site) -> None:
    assert site.node("react_hook.mjs") == "usePinAnalysis ANALYSIS_COMPLETE"


def test_events_are_read_on_behind_a_cut(site: Site) -> None:
    assert site.node("event_source.mjs") == "0,1,2,3,4,5,6,7 ANALYSIS_COMPLETE"


TUS_PAGE = """async ([base, session]) => {
  const send = (view, more) => new Promise((resolve, reject) => {
    let stream = null;
    const photograph = new Blob([`PHOTO ${view} `.padEnd(250_000, ".")]);
    new tus.Upload(photograph, {
      endpoint: `${base}/uploads/`,
      chunkSize: 100_000,
      retryDelays: null,
      metadata: { sessionId: session, view, ...more },
      onAfterResponse: (_, response) => { stream = response.getHeader("Stream-Location") ?? stream; },
      onError: (error) => reject(String(error)),
      onSuccess: () => resolve(stream),
    }).start();
  });
  await send("front");
  const stream = await send("back", { complete: "true" });
  const answer = await fetch(base + stream, { headers: { Accept: "application/x-ndjson" } });
  return (await answer.text()).trim().split("\\n").map((line) => JSON.parse(line).packetType);
}"""


def test_tus_js_client_in_chromium(site: Site) -> None:
    """A page of another origin uploads: every preflight is answered, and every header it needs is exposed."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"http://localhost:{site.port}/livez")
        page.add_script_tag(path=site.folder / "node_modules" / "tus-js-client" / "dist" / "tus.min.js")
        kinds = page.evaluate(TUS_PAGE, [f"http://127.0.0.1:{site.port}", "chromium"])
    assert len(kinds) == 8
    assert (kinds[0], kinds[-1]) == ("CONNECTION_ESTABLISHED", "ANALYSIS_COMPLETE")
