"""A local S3 server for tests: moto's, on a free port, in memory."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "pins"

VARIABLES = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@contextmanager
def serve_s3() -> Iterator[str]:
    """Starts the server, creates the bucket and gives the endpoint's URL. Skips the test if moto or obstore
    is not installed."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        create = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(create).close()
        yield endpoint
    finally:
        server.stop()
