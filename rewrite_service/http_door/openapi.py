"""The OpenAPI document of the door, made from the contract with its comments, so that fields and their bounds are said
in one place: `python -m rewrite_service.pb.generate` writes it to `openapi.json`."""

from __future__ import annotations

import json
import re
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

_SERVICE = "RewriteService"
_TYPES: dict[int, dict[str, Any]] = {
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptorProto.TYPE_INT64: {
        "oneOf": [{"type": "integer", "format": "int64"}, {"type": "string", "pattern": "^-?[0-9]+$"}]
    },
}
_ERRORS = {
    "400": "The message is bad; `details` name the field.",
    "401": "No token that is known.",
    "403": "The token is not for this, or a web page calls.",
    "408": "The message did not arrive in time.",
    "413": "The message is too long.",
    "415": "The message is not said to be JSON.",
    "429": "Too much is asked; `Retry-After` says when to try again.",
    "500": "Something broke inside; the message has the id under which the server's log tells more.",
    "503": "The server starts or stops, or its store failed.",
    "504": "Not done in time.",
}
_TIMEOUT = {
    "name": "x-timeout-ms", "in": "header", "schema": {"type": "number", "exclusiveMinimum": 0},
    "description": "How long the caller will wait, in milliseconds; or `grpc-timeout`, such as `25m`.",
}  # fmt: skip
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP code."},
                "status": {"type": "string", "description": "The gRPC status, such as `INVALID_ARGUMENT`."},
                "message": {"type": "string", "description": "What is wrong, and what would be accepted."},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}


def openapi_document(descriptors: bytes, version: str) -> str:
    """The document as JSON. `descriptors`: a FileDescriptorSet of the contract, with source info."""
    files = FileDescriptorSet.FromString(descriptors).file
    file = next(f for f in files if any(s.name == _SERVICE for s in f.service))
    comments = _comments(file)
    schemas: dict[str, Any] = {"Error": _ERROR_SCHEMA}
    for number, message in enumerate(file.message_type):
        schemas[message.name] = _schema(message, (4, number), comments)
    for number, enum in enumerate(file.enum_type):
        schemas[enum.name] = _enum(enum, (5, number), comments)
    paths: dict[str, Any] = {}
    at = next(n for n, service in enumerate(file.service) if service.name == _SERVICE)
    for number, method in enumerate(file.service[at].method):
        path = "/v1/" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower()
        replies = {
            code: {"description": said, "content": _json({"$ref": "#/components/schemas/Error"})}
            for code, said in _ERRORS.items()
        }
        paths[path] = {
            "post": {
                "operationId": method.name,
                "description": comments.get((6, at, 2, number), ""),
                "parameters": [_TIMEOUT],
                "requestBody": {"required": True, "content": _json(_ref(method.input_type))},
                "responses": {
                    "200": {"description": "The answer.", "content": _json(_ref(method.output_type))},
                    **replies,
                },
            }
        }
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "query-rewrite",
            "version": version,
            "description": "The methods of rewrite.v1.RewriteService as JSON over HTTP, by the proto3 JSON mapping. "
            "Fields may also be sent with the names of the contract (`user_id`).",
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """By the path of what they are about (descriptor.proto, SourceCodeInfo)."""
    return {
        tuple(place.path): " ".join((place.leading_comments + place.trailing_comments).split())
        for place in file.source_code_info.location
    }


def _schema(message: DescriptorProto, at: tuple[int, ...], comments: dict[tuple[int, ...], str]) -> dict[str, Any]:
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    properties = {}
    for number, field in enumerate(message.field):
        entry = maps.get(field.type_name.rpartition(".")[2])
        schema: dict[str, Any]
        if entry is not None:
            schema = {"type": "object", "additionalProperties": _type(entry.field[1])}
        elif field.label == FieldDescriptorProto.LABEL_REPEATED:
            schema = {"type": "array", "items": _type(field)}
        else:
            schema = dict(_type(field))
        if said := comments.get((*at, 2, number)):
            schema["description"] = said
        properties[field.json_name] = schema
    return {"type": "object", "description": comments.get(at, ""), "properties": properties}


def _enum(enum: EnumDescriptorProto, at: tuple[int, ...], comments: dict[tuple[int, ...], str]) -> dict[str, Any]:
    values = [f"`{value.name}`: {comments.get((*at, 2, number), '')}" for number, value in enumerate(enum.value)]
    said = "\n".join([comments.get(at, ""), *values])
    return {"type": "string", "enum": [value.name for value in enum.value], "description": said}


def _type(field: FieldDescriptorProto) -> dict[str, Any]:
    if field.type in (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_ENUM):
        return _ref(field.type_name)
    return _TYPES[field.type]


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name.rpartition('.')[2]}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
