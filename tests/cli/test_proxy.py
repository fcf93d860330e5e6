"""Tests of `pinactors proxy`: addresses of masters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.samples import call


@pytest.mark.parametrize(
    "master",
    [
        *("nonsense", "ftp://host", "http://", "http://host:x", "http://host:99999", "http://[::1"),
        *("http://a..b:8080", f"http://{'a' * 64}:8080"),
    ],
)
def test_a_master_that_is_no_address_is_named(master: str, tmp_path: Path) -> None:
    result = call("proxy", "--master", master, "--data", tmp_path / "data", "--port", "0")
    assert result.exit_code == 1
    assert "cannot serve: " in result.stderr
    assert master in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("master", "said"),
    [
        ("http://user:a-word@host:1", "'http://***@host:1' (a URL without user and password"),
        ("http://user@host;weight=2", "'http://***@host;weight=2' (a URL without user and password"),
        ("user:a-word@host:1", "'***@host:1' (a URL without user and password"),
        ("https://host/pinactors", "'https://host/pinactors' (a URL without a path"),
        ("http://host:1/api/;weight=2", "'http://host:1/api/;weight=2' (a URL without a path"),
        ("http://host?key=1", "'http://host?key=1' (a URL without a path"),
        ("http://host/#top", "'http://host/#top' (a URL without a path"),
    ],
)
def test_a_master_with_what_would_be_ignored_is_named(master: str, said: str, tmp_path: Path) -> None:
    """The message does not repeat a password, because messages at start are kept in logs."""
    result = call("proxy", "--master", master, "--data", tmp_path / "data", "--port", "0")
    assert result.exit_code == 1
    assert f"cannot serve: not a master: {said}" in " ".join(result.stderr.split())
    assert "a-word" not in result.output + result.stderr
