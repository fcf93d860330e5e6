"""The OpenAPI description is valid and complete, and agrees with what the server really sends."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import MagicMock

import pytest
from openapi_spec_validator import validate

from pinactors.api.app import create_app
from pinactors.api.openapi import Service, description
from pinactors.protocol import ErrorCode
from pinactors.settings import Settings
from tests.api.conftest import Process
from tests.api.wire import ask

SERVICES: tuple[Service, ...] = get_args(Service)


def walk(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each object in a JSON document with its path."""
    if isinstance(node, dict):
        yield path, node
        for name, value in node.items():
            yield from walk(value, f"{path}/{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from walk(value, f"{path}/{number}")


@pytest.mark.parametrize("service", SERVICES)
class TestDocument:
    def test_it_is_valid(self, service: Service) -> None:
        validate(description(service))

    def test_every_field_has_a_sentence(self, service: Service) -> None:
        for path, node in walk(description(service)):
            if path.endswith("/properties"):
                for name, field in node.items():
                    assert field.get("description", "").strip().endswith("."), f"{path}/{name}"
        for operations in description(service)["paths"].values():
            for operation in operations.values():
                if isinstance(operation, dict):
                    assert operation["summary"]
                    assert operation["description"]

    def test_nothing_has_a_default_or_an_untyped_list_of_values(self, service: Service) -> None:
        """Client generators drop booleans with a list of values, and make fields with a default required."""
        for path, node in walk(description(service)["components"]["schemas"]):
            assert "default" not in node, path
            if isinstance(node.get("enum"), list):
                assert node["type"] == "string", path
                assert len(node["enum"]) > 1, path

    def test_every_type_that_is_named_is_there_and_every_one_there_is_named(self, service: Service) -> None:
        document = description(service)
        text = json.dumps(document)
        named = set(re.findall(r"#/components/schemas/(\w+)", text))
        assert named == set(document["components"]["schemas"])

    def test_both_versions_describe_the_same(self, service: Service) -> None:
        older, newer = description(service), description(service, "3.2")
        assert (older["openapi"], newer["openapi"]) == ("3.1.0", "3.2.0")
        assert older["components"] == newer["components"]
        assert [list(path) for path in older["paths"].values()] == [
            list(path) for path in newer["paths"].values()
        ]
        answer = newer["paths"]["/mobile-upload"]["post"]["responses"]["200"]["content"]
        assert answer["application/x-ndjson"]["itemSchema"] == {"$ref": "#/components/schemas/Packet"}
        assert answer["text/event-stream"]["itemSchema"]["properties"]["data"]["contentSchema"]

    def test_there_is_a_server_and_every_refusal_of_an_upload(self, service: Service) -> None:
        document = description(service)
        assert document["servers"][0]["url"] == "/"
        answers = document["paths"]["/mobile-upload"]["post"]["responses"]
        assert {"400", "401", "409", "413", "415", "422", "429", "500", "503"} < set(answers)
        assert set(document["components"]["schemas"]["ErrorCode"]["enum"]) == set(ErrorCode)
        for status in ("429", "503"):
            assert "Retry-After" in answers[status]["headers"]


def test_each_service_describes_its_own_health() -> None:
    for service, name in (("master", "Health"), ("proxy", "ProxyHealth")):
        answer = description(service)["paths"]["/health"]["get"]["responses"]["200"]  # type: ignore[arg-type]
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith(f"/{name}")
    assert "/api/proxy/mobile-upload" in description("proxy")["paths"]
    assert "/api/proxy/mobile-upload" not in description("master")["paths"]


NOT_DESCRIBED = re.compile(
    r"GET /(admin|docs/|static/|worker\.js|ws$|mobile-upload/{})|(GET|POST|PUT|DELETE) /admin/api/"
    r"|POST /uploads/({})?$"
)
"""For people and browsers, or no HTTP: the administrator's pages, pages of documentation, the page's files,
the WebSocket. Other forms of described requests: GET instead of HEAD, a slash at the end, an overridden
method."""


def test_every_route_of_the_master_is_described(tmp_path: Path) -> None:
    unused = MagicMock()
    rules = create_app(unused, unused, unused, Settings(data=tmp_path)).url_map.iter_rules()
    served = {
        f"{method} {re.sub('<[^>]*>', '{}', rule.rule)}"
        for rule in rules
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    described = {
        f"{method.upper()} {re.sub('{[^}]*}', '{}', path)}"
        for path, operations in description("master")["paths"].items()
        for method in operations
        if method not in ("head", "parameters")
    }
    assert described <= served
    assert [route for route in sorted(served - described) if not NOT_DESCRIBED.match(route)] == []


async def test_the_page_shows_words_not_markup(shared: Process) -> None:
    page = (await ask(shared.port, "GET", "/docs")).body.decode()
    assert "&lt;" not in page
    assert "`" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert page.count("<code>") > 100
    for name in ("authenticity_rating", "packet_type", "as_of"):
        assert name not in page


def test_the_examples_run_as_printed(shared: Process, tmp_path: Path) -> None:
    (tmp_path / "front.jpg").write_bytes(b"PHOTO")
    samples = [
        sample["source"]
        for _, node in walk(description()["paths"])
        for sample in node.get("x-codeSamples", [])
    ]
    assert samples
    for sample in samples:
        command = sample.replace("{server}", f"http://127.0.0.1:{shared.port}")
        run = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(run.stdout)["complete"] is True
