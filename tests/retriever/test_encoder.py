"""The encoder: shapes, unit length, order, bounds, refusal of altered weights, nearness to fp32, and no torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from retriever.encoder import MANIFEST, MODEL, TOKENIZER, WEIGHTS, Encoder

GOLDEN = Path(__file__).parent / "golden"
TEXTS = [
    "what's the weather in cardiff",
    "stop",
    "remind me to take the bins out on tuesday night and to water the plants before i leave for work",
    "play hey jude by the beatles in the kitchen",
    "",
    "what's the weather in cardiff",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in (MODEL, TOKENIZER, MANIFEST):
        shutil.copy(WEIGHTS / name, tmp_path / name)
    return tmp_path


def test_rows_are_unit_float32_vectors(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), Encoder.DIMENSION) == (6, 384)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    vectors = encoder.encode([])
    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("text", ["", "   ", "\n", "\x00", "🎵🎵", "日本語", "[SEP] [PAD]", "a" * 100_000])
def test_odd_text_has_a_unit_vector(encoder: Encoder, text: str) -> None:
    assert np.linalg.norm(encoder.encode([text])[0]) == pytest.approx(1, abs=1e-5)


def test_a_text_has_the_same_vector_in_any_company_and_order(encoder: Encoder) -> None:
    together = encoder.encode(TEXTS)
    np.testing.assert_array_equal(together, np.vstack([encoder.encode([text]) for text in TEXTS]))
    np.testing.assert_array_equal(together[::-1], encoder.encode(TEXTS[::-1]))
    np.testing.assert_array_equal(together[0], together[-1])


def test_long_text_counts_up_to_its_first_64_tokens_and_stays_quick(encoder: Encoder) -> None:
    took = []
    for _ in range(3):
        start = time.perf_counter()
        long = encoder.encode(["weather " * 10_000])
        took.append(time.perf_counter() - start)
    assert min(took) < 1
    # 62 words, as the tokens that mark begin and end count too
    np.testing.assert_array_equal(long, encoder.encode(["weather " * 62]))
    assert not np.array_equal(long, encoder.encode(["weather " * 61]))


def test_letter_case_and_outer_blanks_do_not_count(encoder: Encoder) -> None:
    one, other = encoder.encode(["Play Hey Jude", "  play hey jude "])
    np.testing.assert_array_equal(one, other)


def test_threads_share_an_encoder_and_their_number_changes_nothing(encoder: Encoder) -> None:
    alone = encoder.encode(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(encoder.encode, [TEXTS] * 8):
            np.testing.assert_array_equal(vectors, alone)
    np.testing.assert_allclose(Encoder(threads=2).encode(TEXTS), alone, atol=1e-6)


def test_meaning_counts(encoder: Encoder) -> None:
    warm, rain, song, light, lamp = encoder.encode(
        [
            "how warm is it in cardiff today",
            "what's the temperature in cardiff",
            "play dancing queen by abba",
            "turn the hallway light off",
            "switch off the light in the hall",
        ]
    )
    assert warm @ rain > 0.6 > 0.3 > max(warm @ song, light @ song)
    assert light @ lamp > 0.6 > 0.3 > light @ rain


def test_golden_vectors_stay_near_fp32(encoder: Encoder) -> None:
    texts = json.loads((GOLDEN / "encoder_texts.json").read_text(encoding="utf-8"))
    fp32 = np.load(GOLDEN / "encoder_fp32.npy").astype(np.float32)
    assert fp32.shape == (len(texts), 384)
    cosines = (encoder.encode(texts) * fp32).sum(axis=1)
    assert cosines.min() >= 0.999


def test_fingerprint_is_of_the_contents(encoder: Encoder, copied: Path) -> None:
    assert len(encoder.fingerprint) == 16
    assert int(encoder.fingerprint, 16) >= 0
    assert Encoder(copied).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", [MODEL, TOKENIZER])
def test_altered_weights_are_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        Encoder(copied)


def test_weights_of_another_dimension_are_refused(copied: Path) -> None:
    manifest = json.loads((copied / MANIFEST).read_bytes())
    (copied / MANIFEST).write_text(json.dumps(manifest | {"dimension": 768}))
    with pytest.raises(ValueError, match="768 numbers, 384 are needed"):
        Encoder(copied)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, MANIFEST])
def test_missing_weights_are_named_with_the_remedy(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match="query-rewrite train-encoder") as error:
        Encoder(copied)
    assert str(copied) in str(error.value)
    assert name in str(error.value)


def test_manifest_keeps_the_promises_of_the_model_card() -> None:
    manifest = json.loads((WEIGHTS / MANIFEST).read_bytes())
    assert manifest["base"]["sha256"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert manifest["cosine_to_fp32"]["minimum"] >= 0.999
    assert manifest["cosine_to_base"]["mean"] >= 0.8
    assert manifest["files"][MODEL]["bytes"] == (WEIGHTS / MODEL).stat().st_size < 15_000_000


def test_serving_needs_no_torch() -> None:
    program = (
        "import sys; from retriever.encoder import Encoder; Encoder().encode(['stop']); "
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("names", [["input_ids"], ["input_ids", "attention_mask"]])
def test_graphs_with_a_mask_are_told_that_nothing_is_padding(copied: Path, names: list[str]) -> None:
    """Encoders that were trained before the graph lost its mask go on working."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "tokens"]) for name in names]
    weights = numpy_helper.from_array(np.arange(1, 385, dtype=np.float32)[None], "weights")
    nodes = [
        helper.make_node("Cast", [names[-1]], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["numbers"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["most", "weights"], ["scaled"]),
        helper.make_node("LpNormalization", ["scaled"], ["vector"], axis=1),
    ]
    out = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 384])
    graph = helper.make_graph(nodes, "g", inputs, [out], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = model.SerializeToString()
    (copied / MODEL).write_bytes(data)
    manifest = json.loads((copied / MANIFEST).read_bytes())
    manifest["files"][MODEL] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (copied / MANIFEST).write_text(json.dumps(manifest))
    vector = Encoder(copied).encode(["stop"])[0]
    expected = np.arange(1, 385) / np.linalg.norm(np.arange(1, 385))
    np.testing.assert_allclose(vector, expected, rtol=1e-5)
