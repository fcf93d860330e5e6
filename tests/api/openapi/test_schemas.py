"""Types in the description: what they are, their bounds, and what may be left out."""

from __future__ import annotations

import re

import msgspec
from jsonschema import Draft202012Validator

from pinactors.api.openapi import description
from pinactors.api.openapi.schemas import TYPES
from tests.api.conftest import Process
from tests.api.wire import JSON, ask, json_body


def test_every_type_says_what_it_is() -> None:
    for service in ("master", "proxy"):
        for name, schema in description(service)["components"]["schemas"].items():  # type: ignore[arg-type]
            said = schema.get("description", "") if schema.get("type") == "object" else "not an object"
            assert said, name
            assert "base class" not in said, f"{name} has the docstring of msgspec's"


def test_numbers_and_names_have_bounds() -> None:
    schemas = description()["components"]["schemas"]
    assert schemas["AuthenticationResult"]["properties"]["authenticityRating"]["maximum"] == 100
    assert schemas["PinConfirmation"]["properties"]["pinId"]["maxLength"] == 128
    paths = description()["paths"]
    offset = paths["/streams/{streamId}"]["get"]["parameters"][0]
    for token, fits in (("-1", True), ("now", True), ("0" * 16, True), ("0", False), ("nonsense", False)):
        assert bool(re.search(offset["schema"]["pattern"], token)) is fits
    assert all(
        "maximum" in parameter["schema"]
        for parameter in paths["/api/mobile/provisional-pins"]["get"]["parameters"]
    )


def test_only_what_a_client_may_leave_out_is_optional() -> None:
    schemas = description()["components"]["schemas"]
    assert schemas["PinConfirmation"]["required"] == ["recordNumber", "pinId", "userAgreement"]
    assert "feedbackComment" in schemas["PinConfirmed"]["required"]
    for struct in TYPES:
        assert set(schemas.get(struct.__name__, {}).get("required", [])) <= {
            *(field.encode_name for field in msgspec.structs.fields(struct)),
            "packetType",
        }


async def test_the_buffered_answer_is_of_its_type(shared: Process) -> None:
    body = json_body(sessionId="typed", frontImageData=b"PHOTO", backImageData=b"PHOTO")
    answer = (await ask(shared.port, "POST", "/mobile-upload", body, JSON)).json()
    document = description()
    schema = {"$ref": "#/components/schemas/Analysis", "components": document["components"]}
    Draft202012Validator(schema).validate(answer)
    assert set(answer) <= set(document["components"]["schemas"]["Analysis"]["properties"])
    refused = (await ask(shared.port, "POST", "/mobile-upload", json_body(), JSON)).json()
    schema = {"$ref": "#/components/schemas/Failure", "components": document["components"]}
    Draft202012Validator(schema).validate(refused)
