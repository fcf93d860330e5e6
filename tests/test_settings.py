"""Tests of the form and the bounds of settings."""

from __future__ import annotations

import math
from pathlib import Path

import pydantic
import pytest

from pinactors.settings import Settings, SettingUnusable, load, unknown_variables

DURATIONS = [name for name, field in Settings.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e10])
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_that_nothing_can_calculate_with_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Settings.model_validate({name: value})
    assert [problem["loc"] for problem in refused.value.errors()] == [(name,)]


@pytest.mark.parametrize("host", ["[::1]", "::1"])
def test_an_address_may_have_the_brackets_of_a_url(host: str) -> None:
    assert Settings(host=host).host == "::1"


def test_variables_of_a_kubernetes_service_named_pinactors_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kubernetes sets them in every container of the namespace, unless `enableServiceLinks` is false."""
    service = {
        "PINACTORS_SERVICE_HOST": "10.96.0.12",
        "PINACTORS_SERVICE_PORT": "8080",
        "PINACTORS_SERVICE_PORT_HTTP": "8080",
        "PINACTORS_PORT": "tcp://10.96.0.12:8080",
        "PINACTORS_PORT_8080_TCP": "tcp://10.96.0.12:8080",
        "PINACTORS_PORT_8080_TCP_PROTO": "tcp",
        "PINACTORS_PROXY_SERVICE_HOST": "10.96.0.13",
    }
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    assert load().port == 8080
    assert load(port=9000).port == 9000
    assert unknown_variables(service) == {}
    assert unknown_variables(["PINACTORS_PRT", "PINACTORS_SERVICES"]) == {
        "PINACTORS_PRT": "PINACTORS_PORT",
        "PINACTORS_SERVICES": "",
    }
    monkeypatch.setenv("PINACTORS_PORT", "x")
    with pytest.raises(pydantic.ValidationError):
        load()


def test_the_data_folder_may_be_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(data=Path("~/pins")).data == tmp_path / "pins"
    monkeypatch.setenv("PINACTORS_DATA", "~/other")
    assert load().data == tmp_path / "other"
    with pytest.raises(pydantic.ValidationError, match="home folder that ~ stands for is unknown"):
        Settings(data=Path("~nobody-of-this-name/pins"))


def test_a_file_gives_settings_that_neither_flag_nor_variable_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pinactors.env"
    file.write_text("# of this machine\nPINACTORS_PORT=9000\nPINACTORS_HOST=::1\nPINACTORS_WORKERS=3\n")
    monkeypatch.setenv("PINACTORS_SETTINGS", str(file))
    monkeypatch.setenv("PINACTORS_HOST", "127.0.0.2")
    settings = load(workers=5)
    assert (settings.port, settings.host, settings.workers) == (9000, "127.0.0.2", 5)
    file.write_text("PINACTORS_PORT=many\n")
    with pytest.raises(pydantic.ValidationError, match="port"):
        load()
    file.unlink()
    with pytest.raises(SettingUnusable, match="No such file"):
        load()
