"""Object stores for tests: a folder, and a local S3 server if moto is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinactors.settings import Settings
from pinactors.storage.objects import Objects, open_objects
from tests.storage.s3_server import BUCKET, VARIABLES, serve_s3


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with serve_s3() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty prefix in the bucket. Sets the environment variables for access to it."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    return f"s3://{BUCKET}/{os.urandom(6).hex()}"


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    storage = f"file:{tmp_path / 'objects'}" if request.param == "folder" else request.getfixturevalue("s3")
    return open_objects(Settings(data=tmp_path / "data", storage=storage))
