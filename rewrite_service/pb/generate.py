"""Makes the modules of this package, and the OpenAPI document of the HTTP door, from the contract:
`python -m rewrite_service.pb.generate`.

Needs grpcio-tools, which comes with the test extra; serving does not. The tests compare the result with what is
checked in, so a changed contract cannot be forgotten here.
"""

from __future__ import annotations

import importlib.resources
import sys
import tempfile
from itertools import product
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
OPENAPI = PACKAGE_DIR.parent / "http_door" / "openapi.json"
PROTO_ROOT = PACKAGE_DIR.parent.parent / "proto"
PROTOS = ("rewrite/v1/rewrite.proto", "rewrite/v1/admin.proto")
_ENDINGS = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")

# protoc derives the import from the proto's folder; here the modules live in this package instead.
_IMPORT_MADE = "from rewrite.v1 import "
_IMPORT_MEANT = "from rewrite_service.pb import "


def protoc(*arguments: str) -> None:
    """Runs protoc over the contract. Raises `RuntimeError` where it fails (it says why on standard error)."""
    from grpc_tools import protoc as compiler

    well_known = importlib.resources.files("grpc_tools") / "_proto"
    status = compiler.main(["protoc", f"-I{PROTO_ROOT}", f"-I{well_known}", *arguments, *PROTOS])
    if status != 0:
        raise RuntimeError(f"protoc ended with status {status}")


def generate(target: Path) -> list[Path]:
    """Writes the modules into the folder `target` and returns their paths."""
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        protoc(f"--python_out={scratch}", f"--pyi_out={scratch}", f"--grpc_python_out={scratch}")
        for proto, ending in product(PROTOS, _ENDINGS):
            name = Path(proto).stem + ending
            source = Path(scratch, proto).with_name(name).read_text(encoding="utf-8")
            path = target / name
            path.write_text(source.replace(_IMPORT_MADE, _IMPORT_MEANT), encoding="utf-8")
            written.append(path)
    return written


def openapi() -> str:
    """The OpenAPI document of the HTTP door."""
    from rewrite_service.http_door.openapi import openapi_document

    with tempfile.TemporaryDirectory() as scratch:
        described = Path(scratch, "set")
        protoc(f"--descriptor_set_out={described}", "--include_source_info")
        return openapi_document(described.read_bytes(), "1")


if __name__ == "__main__":
    OPENAPI.write_text(openapi(), encoding="utf-8")
    for made in generate(PACKAGE_DIR):
        print(made.name, file=sys.stderr)
