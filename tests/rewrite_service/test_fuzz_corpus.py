"""What fuzzing keeps: every input that once broke a promise, seeds of each kind, and bytes at random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz.run import CORPUS, NAMES
from benchmarks.fuzz.targets import TARGETS, clean_up

QUICK = ("log_reader", "proto_edge", "normal_form")


@pytest.fixture(scope="module", autouse=True)
def clean() -> Iterator[None]:
    yield
    clean_up()


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_corpus(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert len(kept) >= 4 and list(TARGETS) == list(NAMES)
    for path in kept:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            raise AssertionError(f"{name} fails on {path.name}") from error


@pytest.mark.parametrize("name", QUICK)
@settings(max_examples=60)
@given(data=st.binary(max_size=200) | st.text(st.characters(), max_size=60).map(lambda t: t.encode("utf-8", "replace")))
@example(data=b"\x1f\x8b")
@example(data=b"PAR1")
def test_bytes_at_random(name: str, data: bytes) -> None:
    TARGETS[name](data)


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(QUICK))
def test_a_seed_with_some_bytes_altered(data: st.DataObject, name: str) -> None:
    seed = data.draw(st.sampled_from(sorted((CORPUS / name).iterdir())), label="seed").read_bytes()
    places = st.tuples(st.integers(0, max(0, len(seed) - 1)), st.integers(0, 255))
    out = bytearray(seed or b"\0")
    for at, value in data.draw(st.lists(places, min_size=1, max_size=6), label="alterations"):
        out[at] = value
    TARGETS[name](bytes(out))


def test_the_seeds_reach_what_they_are_for() -> None:
    """A harness that refuses everything would never fail."""
    from mining.reader import read_log
    from rewrite_service import converters
    from rewrite_service.pb import rewrite_pb2 as pb

    seeds: Path = CORPUS / "log_reader"
    assert all(read_log([seeds / name]).turns for name in ("lines", "gzip", "parquet"))
    assert converters.to_request(pb.RewriteRequest.FromString((CORPUS / "proto_edge" / "rewrite").read_bytes()))
    assert converters.to_record(pb.RecordRequest.FromString((CORPUS / "proto_edge" / "record").read_bytes()))[0]
