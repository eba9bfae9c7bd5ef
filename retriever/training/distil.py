"""Learns a table of word pieces from an encoder with layers: the student's vector of a text shall be the teacher's.

Hinton et al. 2015 ("Distilling the knowledge in a neural network"). The rows begin as what the teacher makes of each
word piece alone, weighed by how rare it is (SIF, Arora et al. 2017), as model2vec does; what follows teaches how pieces
weigh and mean together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from retriever.training.model import bert_of, embed
from retriever.training.table import table_model

_SIF = 1e-3
_BATCH = 512


@torch.no_grad()
def first_rows(teacher: SentenceTransformer) -> np.ndarray:
    """float32 (vocabulary, d): the teacher's mean over begin, piece and end. A vocabulary is in order of frequency, so
    that Zipf's law says how rare a piece is. Begin and end themselves stand in all texts, and weigh next to nothing."""
    tokenizer = teacher.tokenizer.backend_tokenizer
    begin, end = tokenizer.encode("").ids
    n = tokenizer.get_vocab_size()
    parts = []
    for pieces in torch.arange(n).split(_BATCH):
        ids = torch.stack([torch.full_like(pieces, begin), pieces, torch.full_like(pieces, end)], 1)
        parts.append(bert_of(teacher)(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1))
    share = 1 / np.arange(2, n + 2)
    weight = _SIF / (_SIF + share / share.sum())
    weight[[begin, end]] = weight.min()
    return (torch.cat(parts).numpy() * weight[:, None]).astype(np.float32)


@torch.no_grad()
def teach(
    teacher: SentenceTransformer, texts: Sequence[str], progress: Callable[[int], None] = lambda n: None
) -> np.ndarray:
    """The teacher's vectors, float32 (n, d), unit rows. `progress` is called with how many more are done."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    out = np.empty((len(texts), teacher.get_embedding_dimension()), np.float32)
    for start in range(0, len(order), 256):
        part = order[start : start + 256]
        out[part] = embed(teacher, [texts[i] for i in part]).numpy()
        progress(len(part))
    return out


def distil(
    tokenizer: Tokenizer,
    rows: np.ndarray,
    texts: Sequence[str],
    vectors: np.ndarray,
    *,
    passes: int = 8,
    learning_rate: float = 0.01,
    seed: int = 7,
    progress: Callable[[int], None] = lambda n: None,
) -> SentenceTransformer:
    """A table that begins as `rows` and has learned to give `texts` their `vectors` (float32 (n, d), unit rows), by
    the mean of 1 - cosine. `progress` is called with how many texts more were seen, `passes` times each in all."""
    torch.manual_seed(seed)
    model = table_model(tokenizer, rows)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    taught, batches = torch.from_numpy(vectors), -(-len(texts) // _BATCH)
    steps, step = passes * batches, 0
    for number in range(passes):
        for rows_now in np.array_split(np.random.default_rng((seed, number)).permutation(len(texts)), batches):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 - step / steps)
            found = embed(model, [texts[i] for i in rows_now])
            loss = (1 - (found * taught[rows_now]).sum(1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            progress(len(rows_now))
    return model.eval()
