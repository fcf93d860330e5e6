"""The schemas of `components`, made only from the structs that are encoded and decoded."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from pinactors.api.answers import (
    Card,
    CatalogueState,
    DatabaseState,
    DiskState,
    Events,
    Failure,
    FoundPin,
    FoundPins,
    Health,
    Liveness,
    MasterState,
    PinConfirmed,
    ProvisionalPin,
    ProvisionalPins,
    ProxyHealth,
    Readiness,
    Record,
    RecordPage,
    StorageState,
    TokenMade,
)
from pinactors.api.openapi.fields import BOUNDS, meaning
from pinactors.protocol import PACKET_TYPES, AlsoSeen, Box, Candidate, Estimate, Evidence, Suggestion
from pinactors.protocol.events import Event
from pinactors.protocol.merge import ENVELOPE, OPTIONAL
from pinactors.records.feedback import PinConfirmation

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
TYPES: list[type[msgspec.Struct]] = [
    *PACKET_TYPES.values(),
    *(AlsoSeen, Box, Evidence, Candidate, Estimate, Suggestion),
    *(Failure, PinConfirmation, PinConfirmed, ProvisionalPin, TokenMade, Event, Events),
    *(
        ProvisionalPins,
        Record,
        RecordPage,
        CatalogueState,
        DatabaseState,
        StorageState,
        DiskState,
        Health,
        Liveness,
        Readiness,
        Card,
        FoundPin,
        FoundPins,
    ),
    *(MasterState, ProxyHealth),
]
REQUESTS = {PinConfirmation.__name__}
"""Structs of requests, in which a client may leave out fields with a default. In all other structs the server
sends those fields too."""

ANALYSIS = "Analysis"


def reference(name: str) -> Json:
    """A reference to the schema `name`."""
    return {"$ref": REFERENCE.format(name=name)}


def schemas() -> Json:
    """All schemas by name."""
    _, made = msgspec.json.schema_components(TYPES, ref_template=REFERENCE)
    made = {name: _plain(schema) for name, schema in made.items()}
    for struct in TYPES:
        _complete(made[struct.__name__], struct)
    made["Packet"] = {
        "description": "One line of a stream; `packetType` says which packet it is.",
        "oneOf": [reference(packet.__name__) for packet in PACKET_TYPES.values()],
        "discriminator": {
            "propertyName": "packetType",
            "mapping": {
                packet_type: REFERENCE.format(name=packet.__name__)
                for packet_type, packet in PACKET_TYPES.items()
            },
        },
    }
    made[ANALYSIS] = _analysis(made)
    made["Event"]["properties"]["data"] |= reference("Packet")
    return made


def _analysis(made: Json) -> Json:
    """The schema of the buffered answer: the fields of all packets, merged as in
    `pinactors.protocol.merge`."""
    properties: Json = {}
    required: list[str] = []
    for packet in PACKET_TYPES.values():
        if packet.__name__ == "ErrorPacket":
            continue
        schema = made[packet.__name__]
        for name, field in schema["properties"].items():
            if name in ENVELOPE:
                continue
            properties[name] = _or_null(field) if name in OPTIONAL else field
            if name in schema["required"] and name not in required:
                required.append(name)
    for alias in ("recordNumber", "recordId"):
        properties[alias] = properties["id"] | {"description": meaning(ANALYSIS, alias)}
        required.append(alias)
    return {
        "title": ANALYSIS,
        "description": "One object for a whole analysis: the packets, merged. The fields of a "
        "component that failed are null.",
        "type": "object",
        "properties": properties,
        "required": sorted({*required, *OPTIONAL} & properties.keys()),
    }


def _or_null(schema: Json) -> Json:
    if "anyOf" in schema:
        return schema
    rest = {name: value for name, value in schema.items() if name != "description"}
    return {"description": schema["description"], "anyOf": [rest, {"type": "null"}]}


def _complete(schema: Json, struct: type[msgspec.Struct]) -> None:
    """Adds to a schema of msgspec which fields are always present, their meanings and their bounds."""
    schema["description"] = _in_json_words(inspect.cleandoc(struct.__doc__ or ""), struct)
    if struct.__name__ not in REQUESTS and not struct.__struct_config__.omit_defaults:
        always = [
            field.encode_name
            for field in msgspec.structs.fields(struct)
            if field.default is not msgspec.UNSET
        ]
        tag = [struct.__struct_config__.tag_field] if struct.__struct_config__.tag_field else []
        schema["required"] = [*tag, *always]
    for name, field in schema.get("properties", {}).items():
        bounds = BOUNDS.get(name, {})
        for place in [field, *field.get("anyOf", [])]:
            if place.get("type") in ("integer", "number", "string"):
                place |= {key: value for key, value in bounds.items() if _fits(key, place["type"])}
        schema["properties"][name] = {"description": meaning(struct.__name__, name), **field}


def _fits(bound: str, kind: str) -> bool:
    return (bound in ("minimum", "maximum")) is (kind != "string")


def _plain(schema: Any) -> Any:
    """The schema without defaults, which client generators misread as guarantees, and with a type for each
    `enum`."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items() if name != "default"}
    values = plain.get("enum")
    if isinstance(values, list):
        plain["type"] = "boolean" if isinstance(values[0], bool) else "string"
        if len(values) == 1:
            plain["const"] = plain.pop("enum")[0]
    if plain.get("type") == "object" and "properties" not in plain:
        plain.setdefault("additionalProperties", True)  # otherwise openapi-typescript assumes no fields
    return plain


def _in_json_words(text: str, struct: type[msgspec.Struct]) -> str:
    """A docstring with the fields' names replaced by their names in JSON."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    return re.sub(r"`(\w+)`", lambda found: f"`{names.get(found[1], found[1])}`", text)
