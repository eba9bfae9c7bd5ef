"""Whether an encoder finds what was meant: ranks of right texts among all, by inner product alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

KS = (1, 5, 20)


class Encodes(Protocol):
    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


def recall(
    encoder: Encodes, queries: Sequence[tuple[str, Collection[int]]], texts: Sequence[str]
) -> Mapping[str, float]:
    """recall@1, @5, @20 (each 0 to 1) over the queries, and `queries`, their number.

    `queries`: a text, and the numbers of the right ones among `texts`, at least one each. A text does not find itself:
    what is asked for is another one.
    """
    corpus = encoder.encode(texts)
    number = {text: i for i, text in enumerate(texts)}
    found = np.zeros(len(KS))
    for query, right in queries:
        cosine = corpus @ encoder.encode([query])[0]
        if query in number:
            cosine[number[query]] = -np.inf
        rank = int((cosine > max(cosine[i] for i in right)).sum())
        found += [rank < k for k in KS]
    shares = found / max(1, len(queries))
    return {"queries": len(queries), **{f"recall@{k}": round(float(s), 4) for k, s in zip(KS, shares, strict=True)}}
