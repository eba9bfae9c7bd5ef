"""One text's way through BERT with as few nodes as it needs: what is written to ONNX.

The model's own graph has 252 nodes behind the optimiser, most of them about shapes and about masks for texts that stand
together in a batch. The encoder encodes one text at a time, so there is nothing to mask, and query, key and value are
one product. At the ten word pieces of a request a node costs more than what it computes. Same function in fp32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


class ScaledLinear(nn.Module):
    """The same linear map, with its input divided and its weights multiplied by a scale for each input channel."""

    def __init__(self, linear: nn.Linear, scale: torch.Tensor) -> None:
        super().__init__()
        self.linear, self.inverse = linear, nn.Parameter(1 / scale)
        self.linear.weight.data *= scale

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.linear(states * self.inverse)


class _Attention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d)) v by heads; one node of onnxruntime's own."""

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
        """float32 (1, tokens, hidden) thrice to the same."""
        size = q.shape[2] // heads
        q, k, v = (x.unflatten(2, (heads, size)).transpose(1, 2) for x in (q, k, v))
        return (torch.softmax(q @ k.mT / math.sqrt(size), -1) @ v).transpose(1, 2).flatten(2)

    @staticmethod
    def symbolic(g: Any, q: Any, k: Any, v: Any, heads: int) -> Any:
        return g.op("com.microsoft::MultiHeadAttention", q, k, v, num_heads_i=heads).setType(q.type())


class _Layer(nn.Module):
    """A layer of `transformers`' BERT. Its query, key and value share one smoothing, as `smooth` gives them."""

    def __init__(self, layer: nn.Module, heads: int) -> None:
        super().__init__()
        own = layer.attention.self
        three = [own.query, own.key, own.value]
        smoothed = isinstance(own.query, ScaledLinear)
        self.inverse = own.query.inverse if smoothed else None
        maps = [m.linear for m in three] if smoothed else three
        self.merged = nn.Linear(maps[0].in_features, sum(m.out_features for m in maps))
        self.merged.weight.data = torch.cat([m.weight.data for m in maps])
        self.merged.bias.data = torch.cat([m.bias.data for m in maps])
        self.heads, self.hidden = heads, maps[0].out_features
        self.after_attention, self.first_norm = layer.attention.output.dense, layer.attention.output.LayerNorm
        self.wide, self.narrow, self.second_norm = layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        merged = self.merged(states if self.inverse is None else states * self.inverse)
        q, k, v = merged.split(self.hidden, -1)
        states = self.first_norm(self.after_attention(_Attention.apply(q, k, v, self.heads)) + states)
        return self.second_norm(self.narrow(nn.functional.gelu(self.wide(states))) + states)


class SentenceGraph(nn.Module):
    """BERT for one text, the mean over its tokens, unit length. Dropout is left out, as for a model in `eval`."""

    def __init__(self, bert: nn.Module, max_tokens: int) -> None:
        """`bert`: `transformers`' BertModel, smoothed or not; its weights are used, not copied."""
        super().__init__()
        if bert.config.hidden_act != "gelu":
            raise ValueError(f"the graph is written for gelu, not {bert.config.hidden_act}")
        e = bert.embeddings
        self.words, self.norm = e.word_embeddings, e.LayerNorm
        places = e.position_embeddings.weight.data[:max_tokens] + e.token_type_embeddings.weight.data[0]
        self.places = nn.Parameter(places)
        self.layers = nn.ModuleList(_Layer(layer, bert.config.num_attention_heads) for layer in bert.encoder.layer)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """int64 (1, tokens), at most `max_tokens`, to float32 (1, hidden)."""
        states = self.norm(self.words(input_ids) + self.places[: input_ids.shape[1]])
        for layer in self.layers:
            states = layer(states)
        return nn.functional.normalize(states.mean(1), dim=-1)
