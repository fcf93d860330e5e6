"""Tests of `pinactors keys`: adding, listing and revoking keys, and their webhooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.samples import call


def test_keys_are_added_listed_and_revoked(tmp_path: Path) -> None:
    data = ("--data", tmp_path / "data")
    key = call("keys", "add", "the shop", *data).stdout.strip()
    assert key.startswith("pin_")
    assert len(key) > 40
    listed = call("keys", "list", *data).stdout
    assert "the shop" in listed
    assert "admin" not in listed
    assert key not in listed, "a key is shown once"
    assert call("keys", "revoke", "1", *data).exit_code == 0
    again = call("keys", "revoke", "1", *data)
    assert again.exit_code == 1
    assert "no active key 1" in again.stderr
    call("keys", "add", "counter", "--admin", *data)
    assert "admin" in call("keys", "list", *data).stdout


def test_a_key_is_found_by_a_name_that_is_its_own(tmp_path: Path) -> None:
    data = ("--data", tmp_path)
    for _ in range(2):
        call("keys", "add", "the shop", *data)
    call("keys", "add", "7", *data)
    assert "no active key 'counter'" in call("keys", "revoke", "counter", *data).stderr
    both = call("keys", "revoke", "the shop", *data)
    assert (both.exit_code, both.stdout) == (2, "")
    assert "the keys 1, 2 have the name 'the shop': give the number" in both.stderr
    assert "no active key 7" in call("keys", "revoke", "7", *data).stderr, "digits are a number"
    assert call("keys", "revoke", "1", *data).exit_code == 0
    assert call("keys", "webhook", "the shop", "https://example.com/", *data).stdout.startswith("whsec_")
    assert call("keys", "revoke", "the shop", *data).stdout == "Key 2 is revoked.\n"
    assert "no active key 'the shop'" in call("keys", "revoke", "the shop", *data).stderr


@pytest.mark.parametrize("command", ["revoke", "webhook"])
def test_a_number_that_no_key_can_have_is_a_mistake_of_the_call(command: str, tmp_path: Path) -> None:
    call("keys", "add", "shop", "--data", tmp_path)
    for number in ("0", "99999999999999999999"):
        result = call("keys", command, number, "--data", tmp_path)
        assert result.exit_code == 2
        assert "is not in the range" in result.stderr


def test_a_keys_webhook_is_checked_shown_and_changed(tmp_path: Path) -> None:
    data, url = ("--data", tmp_path / "data"), "https://example.com/events"
    key, secret = call("keys", "add", "shop", "--webhook", url, *data).stdout.split()
    assert key.startswith("pin_")
    assert secret.startswith("whsec_")
    assert url in call("keys", "list", *data).stdout
    assert call("keys", "webhook", "1", *data).stdout.strip() == secret
    assert call("keys", "webhook", "1", "https://example.org/", *data).stdout.strip() == secret
    assert "https://example.org/" in call("keys", "list", *data).stdout
    assert call("keys", "webhook", "1", "", *data).exit_code == 0
    assert "https://" not in call("keys", "list", *data).stdout
    for refused in (("keys", "add", "x", "--webhook", "http://example.com"), ("keys", "webhook", "1", "x")):
        result = call(*refused, *data)
        assert result.exit_code == 1
        assert "https" in result.stderr
    assert "no active key 7" in call("keys", "webhook", "7", *data).stderr


def test_a_key_needs_a_name_that_can_be_read(tmp_path: Path) -> None:
    result = call("keys", "add", "\x1b[2J", "--data", tmp_path)
    assert result.exit_code == 1
    assert "printable" in result.stderr


@pytest.mark.parametrize("name", ["", "  ", "\x1b[2J"])
def test_a_refused_name_begins_no_data_folder(name: str, tmp_path: Path) -> None:
    assert call("keys", "add", name, "--data", tmp_path / "data").exit_code == 1
    assert not (tmp_path / "data").exists()
