"""The contract: the generated code is up to date, and every field says what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from rewrite_service.pb import generate


@pytest.fixture(scope="module")
def all_described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    target = tmp_path_factory.mktemp("proto") / "set"
    generate.protoc(f"--descriptor_set_out={target}", "--include_source_info")
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file}


@pytest.fixture(params=generate.PROTOS)
def described(
    all_described: dict[str, descriptor_pb2.FileDescriptorProto], request: pytest.FixtureRequest
) -> descriptor_pb2.FileDescriptorProto:
    return all_described[request.param]


def test_generated_code_is_what_the_proto_says(tmp_path: Path) -> None:
    for made in generate.generate(tmp_path):
        checked_in = generate.PACKAGE_DIR / made.name
        assert made.read_bytes() == checked_in.read_bytes(), "run python -m rewrite_service.pb.generate"


def test_the_openapi_document_is_what_the_proto_says() -> None:
    checked_in = generate.OPENAPI.read_text(encoding="utf-8")
    assert checked_in == generate.openapi(), "run python -m rewrite_service.pb.generate"


def _commented(described: descriptor_pb2.FileDescriptorProto) -> set[tuple[int, ...]]:
    return {
        tuple(place.path)
        for place in described.source_code_info.location
        if place.leading_comments.strip() or place.trailing_comments.strip()
    }


def test_everything_has_a_comment(described: descriptor_pb2.FileDescriptorProto) -> None:
    commented = _commented(described)
    silent = []
    for m, message in enumerate(described.message_type):
        if (4, m) not in commented:
            silent.append(message.name)
        for f, field in enumerate(message.field):
            if (4, m, 2, f) not in commented:
                silent.append(f"{message.name}.{field.name}")
    for e, enum in enumerate(described.enum_type):
        if (5, e) not in commented:
            silent.append(enum.name)
        for v, value in enumerate(enum.value):
            if (5, e, 2, v) not in commented:
                silent.append(value.name)
    for s, service in enumerate(described.service):
        for r, method in enumerate(service.method):
            if (6, s, 2, r) not in commented:
                silent.append(f"{service.name}.{method.name}")
    assert silent == []


def test_every_enum_starts_at_unspecified(described: descriptor_pb2.FileDescriptorProto) -> None:
    assert described.enum_type
    for enum in described.enum_type:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        assert (enum.value[0].number, enum.value[0].name) == (0, f"{prefix}_UNSPECIFIED")


def test_interaction_begins_with_the_fields_of_a_request(
    all_described: dict[str, descriptor_pb2.FileDescriptorProto],
) -> None:
    messages = {message.name: message for message in all_described["rewrite/v1/rewrite.proto"].message_type}
    fields = {name: [(f.number, f.name, f.type) for f in messages[name].field] for name in messages}
    assert fields["Interaction"][: len(fields["RewriteRequest"])] == fields["RewriteRequest"]
