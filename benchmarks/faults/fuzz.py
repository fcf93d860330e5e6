"""Fuzzing: atheris on the parsers of a client's bytes, schemathesis on running servers.

`python -m benchmarks fuzz --minutes N` divides the time among the targets. If an input makes a target raise
anything except a refusal, it is kept as a file below `--found`; the inputs in `tests/fuzz/corpus` are tests.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import trio

from benchmarks import Say, phones
from pinactors.analysis.imaging.decode import decode
from pinactors.api.errors import status_of
from pinactors.api.uploads.base64_stream import Base64Decoder
from pinactors.api.uploads.json_body import JsonUpload
from pinactors.api.uploads.multipart import MultipartUpload
from pinactors.api.uploads.received import Parser
from pinactors.api.uploads.resumable import draft_headers
from pinactors.protocol import PinactorsError, View
from pinactors.protocol.offsets import to_position
from pinactors.records import Records
from pinactors.settings import Settings
from pinactors.storage.images import ImageStore

ROOT = Path(__file__).parents[2]
HOOKS = "benchmarks.faults.fuzz_hooks"
BOUNDARY = "b"
MAX_PIXELS = 1_000_000
"""Limit of pixels for the decoder: larger pictures run the same code, but take longer."""

PIECE_SIZES = (1, 3, 7, 64)
"""Sizes in bytes of the pieces into which a body is cut."""

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

STREAMS = """
[[operations]]
include-path-regex = "mobile-upload$"
checks.response_schema_conformance.enabled = false
"""
"""Configuration of schemathesis: it must not check the schema of a phone's answer, which by the protocol is
many JSON objects with the content type of one."""

Target = Callable[[bytes], None]

_EXECUTED = re.compile(rb"number_of_executed_units:\s*(\d+)")


@cache
def _store() -> ImageStore:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    store = ImageStore(folder / "images")
    store.prepare()
    return store


def _outcome(parser: Parser, pieces: list[bytes]) -> str:
    """The events of a parser, or its refusal, as text; raises `AssertionError` for a refusal with a status
    from 500."""
    events: list[object] = []
    try:
        for piece in pieces:
            events += parser.feed(piece)
        parser.finish()
    except PinactorsError as error:
        return f"{error.code} {error.field} {_refusal(error)}"
    finally:
        parser.discard()
    return repr(events)


def _refusal(error: PinactorsError) -> int:
    """The status of a refusal. Raises `AssertionError` for 500 or above, which would be an error of the
    server."""
    status = status_of(error)
    if status >= 500:
        raise AssertionError(f"{error} is {status}")
    return status


def _parsed(make: Callable[[], Parser], data: bytes) -> None:
    whole = _outcome(make(), [data])
    for size in PIECE_SIZES:
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert _outcome(make(), pieces) == whole, f"another outcome in pieces of {size}"


def json_body(data: bytes) -> None:
    """Parses a JSON upload as a whole and in pieces: the outcomes must be equal."""
    _parsed(lambda: JsonUpload(_store()), data)


def multipart_body(data: bytes) -> None:
    """Parses a multipart upload as a whole and in pieces: the outcomes must be equal."""
    _parsed(lambda: MultipartUpload(_store(), BOUNDARY), data)


def base64_text(data: bytes) -> None:
    """Decodes a photograph's base64 text as a whole and byte by byte: the results must be equal."""
    results = []
    for pieces in ([data], [bytes([byte]) for byte in data]):
        decoder = Base64Decoder("frontImageData")
        try:
            decoded = b"".join([*map(decoder.feed, pieces), decoder.finish()])
            results.append((decoded, decoder.absent))
        except PinactorsError as error:
            results.append((error.code.encode(), False))
    assert results[0] == results[1]


def offsets(data: bytes) -> None:
    """Parses offsets of streams, and the header fields of resumable uploads."""
    text = data.decode("latin-1")
    with suppress(ValueError):
        assert to_position(text) >= 0
    names = ("Upload-Draft-Interop-Version", "Upload-Offset", "Upload-Complete", "Upload-Incomplete")
    values = dict(zip((*names, "Upload-Length", "Content-Length"), text.split("\n"), strict=False))
    try:
        asked = draft_headers.read(values)
        draft_headers.check_append(asked, "application/partial-upload")
        asked.whole_length(0)
    except PinactorsError as error:
        _refusal(error)


def picture(data: bytes) -> None:
    """Decodes a photograph as a worker does."""
    try:
        decode(data, View.FRONT, MAX_PIXELS)
    except PinactorsError as error:
        _refusal(error)


TARGETS: dict[str, Target] = {
    "json": json_body,
    "multipart": multipart_body,
    "base64": base64_text,
    "offsets": offsets,
    "picture": picture,
}


def run(minutes: float, found: Path, say: Say) -> dict[str, int]:
    """Fuzzes every target, then running servers. Returns the number of failures found in each."""
    shares = len(TARGETS) + 2
    seconds = max(1, round(60 * minutes / shares))
    findings = {}
    for name in TARGETS:
        say(f"{name}: {seconds} s")
        tried, findings[name] = fuzz_target(name, seconds, found / name)
        say(f"{name}: {tried} inputs tried")
    for service in ("master", "proxy"):
        say(f"{service}: {seconds} s")
        findings[service] = _schemathesis(service, seconds, found)
    return findings


def fuzz_target(name: str, seconds: int, found: Path) -> tuple[int, int]:
    """Fuzzes one target in a separate process, which ends at the first failure. Returns the number of inputs
    that were tried, and of those that failed, which are kept in `found` beside the process's output.

    Raises `RuntimeError` if no input was tried.
    """
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.glob("*-*"))
    output = found / "output.txt"
    with tempfile.TemporaryDirectory() as corpus, output.open("wb") as target:
        seeds = ROOT / "tests" / "fuzz" / "corpus" / name
        limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.faults.fuzz_target", name, corpus, str(seeds)),
                *(*limits, "-print_final_stats=1", f"-artifact_prefix={found}/"),
            ],
            stdout=target,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=ROOT,
        )
    tried = _EXECUTED.search(output.read_bytes())
    failed = len(set(found.glob("*-*")) - before) or int(ended.returncode != 0)
    if tried is None and not failed:
        raise RuntimeError(f"the fuzzer of {name} tried no input: see {output}")
    return int(tried[1]) if tried else 0, failed


def _schemathesis(service: str, seconds: int, found: Path) -> int:
    with tempfile.TemporaryDirectory() as data, _serving(Path(data), service) as (port, key):
        config = Path(data) / "schemathesis.toml"
        config.write_text(STREAMS)
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"http://127.0.0.1:{port}/openapi.json"),
            *("--checks", CHECKS, "--max-time", str(seconds), "--header", f"x-api-key: {key}"),
            *("--continue-on-failure", "--no-color", "--wait-for-schema", "60", "--request-timeout", "60"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "1000000"),
        ]
        found.mkdir(parents=True, exist_ok=True)
        report = found / f"{service}.txt"
        with report.open("wb") as output:
            ended = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=data,
                env=os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)},
            )
    return int(ended.returncode != 0)


@contextmanager
def _serving(data: Path, service: str) -> Iterator[tuple[int, str]]:
    """Starts a master with a key, and for the service `proxy` a proxy in front; yields the port to use and
    the key."""
    master, port = phones.free_port(), 0
    key = trio.run(_key, data / "master")
    processes = [start("serve", data / "master", master)]
    port = master
    try:
        if service == "proxy":
            wait_for(master)
            port = phones.free_port()
            processes.append(start("proxy", data / "proxy", port, f"proxy_masters=http://127.0.0.1:{master}"))
        wait_for(port)
        yield port, key
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _key(data: Path) -> str:
    records = await Records.open(Settings(data=data))
    try:
        return await records.add_key(f"fuzz {secrets.token_hex(4)}")
    finally:
        await records.close()  # noqa: ASYNC102 - nothing cancels it


def start(command: str, data: Path, port: int, *settings: str) -> subprocess.Popen[bytes]:
    chosen = [f"data={data}", f"port={port}", "max_request_bytes=200000", *settings]
    flags = [flag for setting in chosen for flag in ("--set", setting)]
    arguments = [sys.executable, "-m", "pinactors", command, *flags]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(port: int) -> None:
    """Waits until a server accepts connections. Raises `TimeoutError` after two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"nothing answers on port {port}")
