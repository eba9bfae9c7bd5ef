"""Letters and sounds of a request as two modalities of one thing: a phoneme tower trained beside the encoder.

The tower reads the pronunciation; only the encoder is kept. Regularisers after Jiang et al., CVPR 2023 ("Understanding
and constructing latent modality structures in multi-modal representation learning"): deep feature separation, Brownian
bridge and geometric consistency.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from retriever.pronunciation import ALPHABET, pronounce

_WIDTH, _KERNEL = 192, 5
_BRIDGE_AT = 0.25


class SoundTower(nn.Module):
    """Pronunciations to unit vectors: embedded phonemes, two convolutions, the mean over time."""

    def __init__(self, dimension: int = 384) -> None:
        super().__init__()
        self.phonemes = nn.Embedding(ALPHABET + 1, _WIDTH, padding_idx=ALPHABET)
        self.first = nn.Conv1d(_WIDTH, _WIDTH, _KERNEL, padding=_KERNEL // 2)
        self.second = nn.Conv1d(_WIDTH, _WIDTH, _KERNEL, padding=_KERNEL // 2)
        self.out = nn.Linear(_WIDTH, dimension)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 (n, dimension), unit rows."""
        sounds = [pronounce(text) or b"\0" for text in texts]
        ids = torch.full((len(sounds), max(map(len, sounds))), ALPHABET)
        for row, sound in enumerate(sounds):
            ids[row, : len(sound)] = torch.tensor(list(sound))
        mask = (ids != ALPHABET).unsqueeze(1).float()
        states = self.phonemes(ids).transpose(1, 2) * mask
        states = torch.relu(self.first(states)) * mask
        states = torch.relu(self.second(states)) * mask
        return normalize(self.out(states.sum(2) / mask.sum(2)), dim=-1)


class SoundView(nn.Module):
    """The further loss: text and sound of what was meant belong together, and what the regularisers ask.

    `separation`, `bridge`, `geometry`: their weights, 0 for none.
    """

    def __init__(
        self, separation: float = 0.0, bridge: float = 0.0, geometry: float = 0.0, temperature: float = 0.05
    ) -> None:
        super().__init__()
        self.tower = SoundTower()
        self.own_of_text, self.own_of_sound = nn.Linear(384, 384), nn.Linear(384, 384)
        self.weights, self.temperature = (separation, bridge, geometry), temperature

    def extra_repr(self) -> str:
        return f"weights={self.weights}, temperature={self.temperature}"

    def forward(
        self, heard: Sequence[str], meant: Sequence[str], x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        sound = self.tower(meant)
        likeness = y @ sound.T / self.temperature
        texts = {text: number for number, text in enumerate(meant)}
        number = torch.tensor([texts[text] for text in meant])
        same = (number[:, None] == number).fill_diagonal_(False)
        likeness = likeness.masked_fill(same, -torch.inf)
        right = torch.arange(len(meant))
        value = (cross_entropy(likeness, right) + cross_entropy(likeness.T, right)) / 2
        separation, bridge, geometry = self.weights
        if separation:
            apart = _separated(y, self.own_of_text(y)) + _separated(sound, self.own_of_sound(sound))
            value = value + separation * apart
        if bridge:
            # What was heard stands for the augmented view: it lies between what was written and how it sounded.
            between = normalize(_BRIDGE_AT * y + (1 - _BRIDGE_AT) * sound, dim=-1)
            value = value + bridge * ((x - between) ** 2).sum(1).mean()
        if geometry:
            across = y @ sound.T
            value = value + geometry * (((y @ y.T - sound @ sound.T) ** 2).mean() + ((across - across.T) ** 2).mean())
        return value


def _separated(shared: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """What is a modality's own stands at right angles to what is shared, and does not fall into one point."""
    own = normalize(own, dim=-1)
    spread = torch.logsumexp(2 * (own @ own.T - 1), dim=(0, 1)) - 2 * torch.log(torch.tensor(float(len(own))))
    return ((shared * own).sum(1) ** 2).mean() + 0.1 * spread
