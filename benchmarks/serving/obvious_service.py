"""The obvious service, to measure against: what a good engineer writes in a day from the usual libraries.

gRPC with a pool of threads; the query through sentence-transformers; a flat FAISS index over the texts that everybody
shares; a loop of RapidFuzz scores over what it found and over the user's own texts; one LightGBM prediction; a
threshold. It answers the same contract out of the same bundle's texts and people, one core, one thread a library. Its
ranker learns from the same log; how well it decides is not compared.

usage: python -m benchmarks.serving.obvious_service PORT BUNDLE RANKER          serves
       python -m benchmarks.serving.obvious_service train BUNDLE LOG RANKER     makes RANKER
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched; read by the imports below

import faiss
import grpc
import lightgbm
import numpy as np
import torch
from rapidfuzz import fuzz
from sentence_transformers import SentenceTransformer

from mining.defects import assess
from mining.reader import read_log
from mining.sessions import by_user
from retriever.global_layer import GlobalLayer
from retriever.interaction import Outcome
from retriever.normalise import normalise
from retriever.training.model import base_model
from rewrite_service.pb import rewrite_pb2 as pb
from rewrite_service.pb import rewrite_pb2_grpc
from rewrite_service.people_archive import PeopleArchive

NEIGHBOURS, THRESHOLD, THREADS = 20, 0.5, 4
TREES, LEAVES, EXAMPLES = 200, 31, 2000


@dataclass(frozen=True)
class User:
    """`served`: how often each text of the user's worked; `vectors`: the texts' own, float32 (n, 384)."""

    texts: list[str]
    vectors: np.ndarray
    served: Counter[str]


class ObviousRewriter:
    def __init__(self, bundle: Path) -> None:
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        self.model = SentenceTransformer(str(base_model()), device="cpu", local_files_only=True)
        shared = GlobalLayer.open(bundle / "global")
        rows = [shared.text_at(row) for row in range(len(shared))]
        self.texts = [t.text for t in rows]
        self.popularity = [(t.successes, t.people) for t in rows]
        # The index holds the texts' vectors already; encoding them once more would change nothing but the start.
        vectors = np.ascontiguousarray(shared.index._meaning.reconstruct_n(0, len(rows)))
        faiss.normalize_L2(vectors)
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        self.index.add(vectors)
        self._people = PeopleArchive(bundle / "people")
        self.user = lru_cache(maxsize=10_000)(self._user)

    def _user(self, user_id: str) -> User:
        known = self._people.user(user_id)
        served = Counter(normalise(t.request.query) for t in known.turns if t.outcome is Outcome.OK)
        return User(known.texts, known.vectors, served)

    def encode(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def candidates(self, query: str, vector: np.ndarray, user: User) -> tuple[list[str], np.ndarray]:
        """The texts that might be asked instead, the query itself first, and a row of features for each."""
        cosine, found = self.index.search(vector[None], NEIGHBOURS)
        near = {query: 1.0}
        popularity = {}
        for row, value in zip(found[0].tolist(), cosine[0].tolist(), strict=True):
            near[self.texts[row]] = value
            popularity[self.texts[row]] = self.popularity[row]
        if user.texts:
            near |= zip(user.texts, (user.vectors @ vector).tolist(), strict=True)
        rows = []
        for text, value in near.items():
            successes, people = popularity.get(text, (math.nan, math.nan))
            rows.append((
                value, fuzz.ratio(query, text), fuzz.partial_ratio(query, text), fuzz.token_sort_ratio(query, text),
                fuzz.token_set_ratio(query, text), successes, people, user.served[text], text == query,
                len(text) - len(query), len(query.split()),
            ))  # fmt: skip
        return list(near), np.array(rows)


class ObviousService(rewrite_pb2_grpc.RewriteServiceServicer):
    def __init__(self, rewriter: ObviousRewriter, ranker: lightgbm.Booster) -> None:
        self._rewriter, self._ranker = rewriter, ranker

    def Rewrite(self, request: pb.RewriteRequest, context: grpc.ServicerContext) -> pb.RewriteResponse:
        query = normalise(request.query)
        if not query:
            return pb.RewriteResponse(decision=pb.DECISION_PASS, reason=pb.REASON_EMPTY_QUERY)
        user = self._rewriter.user(request.user_id)
        texts, rows = self._rewriter.candidates(query, self._rewriter.encode([query])[0], user)
        probabilities = self._ranker.predict(rows, num_threads=1)
        best = int(np.argmax(probabilities))
        reply = pb.RewriteResponse(decision=pb.DECISION_PASS, reason=pb.REASON_BELOW_THRESHOLD)
        if texts[best] != query and probabilities[best] >= THRESHOLD:
            reply = pb.RewriteResponse(decision=pb.DECISION_REWRITE, reason=pb.REASON_CONFIDENT, text=texts[best])
        reply.probability = float(probabilities[best])
        return reply


def train(bundle: Path, log: Path, out: Path) -> None:
    """The ranker: of the log's requests, which candidate is the text that the user came to, or the query where it was
    fine."""
    rewriter = ObviousRewriter(bundle)
    asked: list[tuple[str, str, str]] = []
    for user, turns in by_user(read_log([log]).turns).items():
        for turn, evidence in zip(turns, assess(turns), strict=True):
            goal = turn if evidence.goal is None else turns[evidence.goal]
            if evidence.goal is not None or not evidence.failed:
                asked.append((user, normalise(turn.request.query), normalise(goal.request.query)))
    asked = [one for one in asked[:: max(1, len(asked) // EXAMPLES)] if one[1]]
    rows, labels = [], []
    for (user, query, wanted), vector in zip(asked, rewriter.encode([q for _, q, _ in asked]), strict=True):
        texts, features = rewriter.candidates(query, vector, rewriter.user(user))
        rows.append(features)
        labels += [text == wanted for text in texts]
    settings = {"objective": "binary", "num_leaves": LEAVES, "verbose": -1, "num_threads": 1}
    made = lightgbm.train(settings, lightgbm.Dataset(np.concatenate(rows), np.array(labels)), TREES)
    made.save_model(out)


def serve(port: int, bundle: Path, ranker: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(THREADS))
    service = ObviousService(ObviousRewriter(bundle), lightgbm.Booster(model_file=ranker))
    rewrite_pb2_grpc.add_RewriteServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(*map(Path, sys.argv[2:]))
    else:
        serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
