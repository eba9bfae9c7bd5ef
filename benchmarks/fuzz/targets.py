"""What is fuzzed: each target takes any bytes, and raises where the code breaks a promise.

The promises: whatever comes in, only errors on purpose come out, and what is taken keeps its invariants.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import orjson

from mining.reader import LogError, read_log
from mining.schema import parse_interaction, to_record
from retriever.interaction import Interaction, Interpretation, Outcome, Request
from retriever.normalise import MAX_CHARS, normalise
from rewrite_service import converters
from rewrite_service.admin import converters as admin_converters
from rewrite_service.bundle import MANIFEST, open_bundle, read_manifest
from rewrite_service.call import parse
from rewrite_service.client import messages
from rewrite_service.errors import BundleError, InvalidRequest
from rewrite_service.pb import admin_pb2
from rewrite_service.pb import rewrite_pb2 as pb

_NOW_MS = 1_800_000_000_000


def log_reader(data: bytes) -> None:
    """A log file of these bytes: read, or refused with a reason. What is read survives being written and read again."""
    path = _scratch() / "log"
    path.write_bytes(data)
    try:
        reading = read_log([path], max_malformed_share=1.0)
    except LogError:
        return
    for turn in reading.turns:
        assert parse_interaction(to_record(turn)) == turn
        normalise(turn.request.query)


def proto_edge(data: bytes) -> None:
    """A message of these bytes, to each method: taken, or refused with the field's name and none of its texts."""
    for kind in (pb.RewriteRequest, pb.RecordRequest, pb.ExplainRequest):
        try:
            message = parse(kind, data)
            if kind is pb.RewriteRequest:
                request = converters.to_request(message)
                assert 0 < len(request.interaction_id) <= converters.MAX_ID_CHARS and request.user_id.strip()
                assert converters.to_request(messages.from_request(request)) == request
            elif kind is pb.RecordRequest:
                turns, late = converters.to_record(message)
                assert len(turns) == len(message.interactions) and len(late) == len(message.feedback)
                for turn in turns:
                    assert converters.to_interaction(messages.from_interaction(turn)) == turn
            elif message.HasField("request"):
                converters.to_request(message.request)
        except InvalidRequest as refused:
            assert len(str(refused)) < 300
    for kind, convert in _ADMIN:
        try:
            convert(parse(kind, data))
        except InvalidRequest as refused:
            assert len(str(refused)) < 300


_ADMIN: tuple[tuple[type, Callable], ...] = (
    (admin_pb2.SwapBundleRequest, admin_converters.to_bundle),
    (admin_pb2.RollBackRequest, admin_converters.to_from_version),
    (admin_pb2.BlockRequest, lambda message: admin_converters.to_rule(message, _NOW_MS)),
    (admin_pb2.PinRequest, lambda message: admin_converters.to_rule(message, _NOW_MS)),
    (admin_pb2.UnblockRequest, admin_converters.to_pair),
)


def normal_form(data: bytes) -> None:
    """A text, lone surrogates included: its normal form is one, is bounded, and holds nothing that is not spelled."""
    if data[:1] == b"\xff":
        text = data[1 : 1 + len(data[1:]) // 2 * 2].decode("utf-16-le", "surrogatepass" if data[1:] else "strict")
    else:
        text = data.decode("utf-8", "surrogateescape")
    form = normalise(text)
    assert normalise(form) == form, "the normal form of a normal form is another"
    assert len(form) <= MAX_CHARS and form == form.strip() and "  " not in form
    assert all(c.isalnum() or c in " '" or not c.isascii() for c in form)
    assert normalise(f"  {text} ") == form or len(text) >= MAX_CHARS - 2


def bundle_loader(data: bytes) -> None:
    """A bundle, one of whose files (the first byte says which) holds these bytes, with a manifest that fits: opened, or
    refused. What opens answers a request."""
    if not data:
        return
    bundle, manifest = _small_bundle()
    names = [MANIFEST, *sorted(manifest["files"])]
    name, content = names[data[0] % len(names)], data[1:]
    path = bundle / name
    whole = path.read_bytes()
    try:
        path.write_bytes(content)
        if name != MANIFEST:
            fitting = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            forged = manifest | {"files": manifest["files"] | {name: fitting}}
            (bundle / MANIFEST).write_bytes(orjson.dumps(forged))
        try:
            opened = open_bundle(bundle, _encoder(), 1 << 20)
        except BundleError as refused:
            assert str(bundle) in str(refused)
            return
        from rewrite_service.pipeline import Pipeline

        pipeline = Pipeline(opened, _store())
        for query in ("call mom", "call tom now", "play jazz"):
            assert pipeline.rewrite(Request("i", "ann", _NOW_MS, query)).reason
    finally:
        path.write_bytes(whole)
        (bundle / MANIFEST).write_bytes(orjson.dumps(manifest))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "log_reader": log_reader,
    "proto_edge": proto_edge,
    "normal_form": normal_form,
    "bundle_loader": bundle_loader,
}


@cache
def _scratch() -> Path:
    """A folder in memory where there is one, for this process alone."""
    memory = Path("/dev/shm")
    place = tempfile.mkdtemp(prefix=f"query-rewrite-fuzz-{os.getpid()}-", dir=memory if memory.is_dir() else None)
    return Path(place)


def clean_up() -> None:
    """Removes what the targets left on the disk."""
    shutil.rmtree(_scratch(), ignore_errors=True)
    _scratch.cache_clear()
    _small_bundle.cache_clear()
    _store.cache_clear()


@cache
def _encoder():
    from retriever.encoder import Encoder

    return Encoder()


@cache
def _store():
    from rewrite_service.store.embedded import EmbeddedStore

    return EmbeddedStore(_scratch() / "state", map_bytes=1 << 22)


@cache
def _small_bundle() -> tuple[Path, dict]:
    """A whole bundle of two people, with models of a few trees; its folder and manifest."""
    from ranker.calibration import Calibration
    from ranker.feature_names import NAMES, QUERY_FEATURES
    from ranker.model import RankerModel
    from ranker.policy import Policy
    from ranker.triage import Triage
    from retriever.encoder import Encoder
    from retriever.vector_cache import CachedEncoder
    from rewrite_service.bundle import write_bundle
    from rewrite_service.examples import learn_knowledge

    people = {user: [_turn(user, i) for i in range(3)] for user in ("ann", "bob")}
    meaning = CachedEncoder(_encoder(), Encoder.DIMENSION, 1 << 20)
    place = _scratch() / "bundle"
    write_bundle(
        place,
        knowledge=learn_knowledge(people, meaning, 2),
        people=people,
        model=RankerModel(_trees(list(NAMES), objective="multiclass", num_class=3)),
        policy=Policy(0.1, 0.1, -1.0, Calibration((0.0, 1.0), (0.0, 1.0))),
        triage=Triage(_trees([name for name, _ in QUERY_FEATURES], objective="cross_entropy"), 0.0),
        encoder=_encoder(),
        built_from={},
        settings={},
        report={},
    )
    return place, read_manifest(place)


def _turn(user: str, number: int) -> Interaction:
    request = Request(f"{user}{number}", user, 1_700_000_000_000 + number * 86_400_000, "call mom")
    return Interaction(request, Interpretation("Call", (("contact", "mom"),)), Outcome.OK)


def _trees(names: list[str], **parameters: object):
    """Three rounds on noise."""
    import lightgbm

    from ranker.trees import Trees

    rng = np.random.default_rng(1)
    x = rng.random((200, len(names)), dtype=np.float32)
    y = rng.integers(0, int(parameters.get("num_class", 2)), 200)
    data = lightgbm.Dataset(x, y, feature_name=names)
    given = {"verbose": -1, "num_leaves": 4, "num_threads": 1, **parameters}
    return Trees.trained(lightgbm.train(given, data, 3))
