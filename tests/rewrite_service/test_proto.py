"""The contract: the generated code is up to date, and every field says what it means."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from rewrite_service.pb import generate

PROTO = Path(__file__).parents[2] / "proto"
AS_IT_WAS = Path(__file__).parent / "golden" / "rewrite.v1.binpb"
"""The contract that clients out there may hold. What it has grown since goes in with
`cd proto && buf build --exclude-source-info -o ../tests/rewrite_service/golden/rewrite.v1.binpb`."""


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


def buf(folder: Path, *command: str) -> tuple[int, str]:
    """What buf says of the contract in a folder."""
    binary = Path(sys.executable).with_name("buf")
    done = subprocess.run([binary, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_buf_finds_no_fault_with_it() -> None:
    assert buf(PROTO, "lint") == (0, "")


def test_it_only_grows() -> None:
    assert buf(PROTO, "breaking", "--against", str(AS_IT_WAS)) == (0, "")


@pytest.mark.parametrize(
    ("was", "made", "command", "told"),
    [
        ("string user_id = 2;", "", ("breaking", "--against", str(AS_IT_WAS)), "user_id"),
        ("string user_id = 2;", "int64 user_id = 2;", ("breaking", "--against", str(AS_IT_WAS)), "user_id"),
        ("string user_id = 2;", "string userId = 2;", ("lint",), "lower_snake_case"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, was: str, made: str, command: tuple[str, ...], told: str) -> None:
    altered = Path(shutil.copytree(PROTO, tmp_path / "proto"))
    file = altered / "rewrite" / "v1" / "rewrite.proto"
    assert was in file.read_text()
    file.write_text(file.read_text().replace(was, made, 1))
    code, said = buf(altered, *command)
    assert code != 0 and told in said
