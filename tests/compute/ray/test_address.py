"""The address of a Ray cluster is checked before Ray tries to connect."""

from __future__ import annotations

import socket

import pytest

from pinactors.compute.ray.address import check_address
from pinactors.settings import SettingUnusable


def test_the_address_is_the_settings_or_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert check_address("ray") == "auto"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert check_address(f"ray://{address}") == f"ray://{address}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert check_address("ray") == address


@pytest.mark.parametrize("port", ["0", "99999", "x"])
def test_an_address_at_which_nothing_answers_is_named(port: str) -> None:
    with pytest.raises(SettingUnusable, match=f"no Ray cluster at ray://127.0.0.1:{port}"):
        check_address(f"ray://127.0.0.1:{port}")
