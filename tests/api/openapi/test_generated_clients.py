"""Other programs can use the description: linters find no error, generated clients compile and upload."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinactors.api.openapi import description
from tests.api.conftest import Process

SECONDS = 300
PACKAGES = (
    *("@redocly/cli@2.77.0", "@stoplight/spectral-cli@6.16.3", "openapi-typescript@7.13.0"),
    *("@hey-api/openapi-ts@0.95.0", "typescript@5.9.3", "@types/node@20"),
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm tools and the descriptions `master.json`, `proxy.json` and `items.json`."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    installed = run(folder, "npm", "install", "--no-audit", "--no-fund", "--prefer-offline", *PACKAGES)
    if installed.returncode:
        pytest.skip(f"npm cannot install the tools: {installed.stderr[-300:]}")
    for name, document in (
        ("master", description()),
        ("proxy", description("proxy")),
        ("items", description("master", "3.2")),
    ):
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("name", ["master", "proxy", "items"])
def test_redocly_finds_no_error(tools: Path, name: str) -> None:
    result = run(tools, "npx", "redocly", "lint", f"{name}.json")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
    assert "is valid" in result.stdout + result.stderr


@pytest.mark.parametrize("name", ["master", "proxy"])
def test_spectral_finds_no_error(tools: Path, name: str) -> None:
    (tools / "rules.yaml").write_text('extends: ["spectral:oas"]')
    result = run(tools, "npx", "spectral", "lint", "-r", "rules.yaml", f"{name}.json")
    assert result.returncode == 0, result.stdout[-3000:]


OPTIONS = {
    "strict": True,
    "module": "nodenext",
    "target": "es2022",
    "lib": ["es2023", "dom", "dom.iterable"],
    "types": ["node"],
    "outDir": "out",
}
UPLOAD = """
import type { components } from "./types.js";
import { client } from "./sdk/client.gen.js";
import { analyse, confirmPin } from "./sdk/index.js";

client.setConfig({ baseUrl: process.argv[2] });
const body = { frontImageData: btoa("PHOTO from TypeScript"), sessionId: "ts" };
const { data, error } = await analyse({ body, query: { response: "json" } });
if (error || !data || !("complete" in data)) throw new Error(JSON.stringify(error ?? data));
const typed: components["schemas"]["Analysis"] = data;
const rating: number | null = typed.authenticityRating;
const said = await confirmPin({ body: { recordNumber: typed.id, pinId: "ts", userAgreement: "agree" } });
console.log(JSON.stringify({ rating, id: typed.id, said: said.data?.success }));
"""


def test_typescript_clients_compile_and_upload(tools: Path, shared: Process) -> None:
    (tools / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["upload.ts"]}))
    types = run(tools, "npx", "openapi-typescript", "master.json", "-o", "types.d.ts")
    assert types.returncode == 0, types.stderr[-2000:]
    sdk = run(tools, "npx", "openapi-ts", "-i", "master.json", "-o", "sdk")
    assert sdk.returncode == 0, sdk.stdout[-2000:] + sdk.stderr[-2000:]
    (tools / "upload.ts").write_text(UPLOAD)
    compiled = run(tools, "npx", "tsc", "-p", ".")
    assert compiled.returncode == 0, compiled.stdout[-3000:]
    (tools / "out" / "package.json").write_text('{"type": "module"}')
    ran = run(tools, "node", "out/upload.js", f"http://127.0.0.1:{shared.port}")
    assert ran.returncode == 0, ran.stderr[-2000:]
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert (answer["rating"], answer["said"]) == (90, True)


def test_the_shipped_types_allow_what_react_native_has(tools: Path) -> None:
    shutil.copytree(Path("api/page/client").resolve(), tools / "shipped", dirs_exist_ok=True)
    (tools / "native.ts").write_text(
        """
import { analyze, PinactorsError, type AbortSignalLike, type Packet } from "./shipped/pinactors.js";

const poor: AbortSignalLike = { aborted: false };
const front = { uri: "file:///front.jpg", name: "front.jpg", type: "image/jpeg" };
for (const signal of [poor, new AbortController().signal]) {
  for await (const packet of analyze({ front, back: new Blob([]) }, { signal })) {
    const one: Packet = packet;
    if (one.packetType === "ERROR") console.log(one.errorCode, one.field, one.view);
  }
}
export const view = (error: PinactorsError) => error.view;
"""
    )
    (tools / "bare.ts").write_text(
        """
import { analyze, cancel } from "./shipped/pinactors.js";

for await (const packet of analyze({ front: new Uint8Array(1), back: { uri: "file:///b" } })) void packet;
await cancel("stream", { signal: { aborted: false } });
"""
    )
    bare = {"lib": ["es2020"], "types": [], "skipLibCheck": False}
    for name, own in (("native", {}), ("bare", bare)):
        project = {"compilerOptions": OPTIONS | own | {"noEmit": True}, "files": [f"{name}.ts"]}
        (tools / f"{name}.json").write_text(json.dumps(project))
        compiled = run(tools, "npx", "tsc", "-p", f"{name}.json")
        assert compiled.returncode == 0, compiled.stdout[-3000:]


@pytest.mark.skipif(
    importlib.util.find_spec("openapi_python_client") is None, reason="openapi-python-client is not installed"
)
def test_a_python_client_imports_and_uploads(
    tmp_path: Path, shared: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api.json").write_text(json.dumps(description()))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "api.json"]
    made = run(tmp_path, *command, "--meta", "none", "--output-path", "generated_pins")
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-2000:]
    assert made.stdout.count("WARNING") <= 1, (
        made.stdout
    )  # for image types, which the generator does not support
    monkeypatch.syspath_prepend(str(tmp_path))
    models = importlib.import_module("generated_pins.models")
    client = importlib.import_module("generated_pins").Client(base_url=f"http://127.0.0.1:{shared.port}")
    with client:
        body = models.AnalyseFilesBody(
            front_image=importlib.import_module("generated_pins.types").File(
                payload=io.BytesIO(b"PHOTO from Python"), file_name="front.jpg", mime_type="image/jpeg"
            ),
            session_id="py",
        )
        analyse = importlib.import_module("generated_pins.api.analyse.analyse")
        answer = analyse.sync(client=client, body=body, response=models.AnalyseResponse.JSON)
        assert isinstance(answer, models.Analysis), answer
        assert (answer.authenticity_rating, answer.complete) == (90, True)
        confirm = importlib.import_module("generated_pins.api.feedback.confirm_pin")
        agreed = models.PinConfirmation(
            record_number=answer.id, pin_id="py", user_agreement=models.Agreement.AGREE
        )
        assert confirm.sync(client=client, body=agreed).success is True
        refused = models.AnalyseJsonBody(front_image_data="!!!!")
        failure = analyse.sync(client=client, body=refused, response=models.AnalyseResponse.JSON)
        assert isinstance(failure, models.Failure)
        assert (failure.field, failure.view) == ("frontImageData", models.View.FRONT)
