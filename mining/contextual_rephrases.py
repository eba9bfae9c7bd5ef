"""Which later turn of a dialogue, if any, is the rephrase that worked: marked by a model that reads the whole dialogue.

Contextual rephrase detection (Wang et al., EMNLP 2021, "Contextual rephrase detection for reducing friction in dialogue
systems"). There a span of words is marked, from its start to its end; here a turn, since a turn is what can be asked
again, and since turns as units make the dialogue short. The rules of `mining.rephrases` look at two turns and at
whether all between pursue the same; the model also sees what comes between and after.

It is trained by `query-rewrite train-rephrase` (`mining.training`) and run by onnxruntime, many dialogues at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from mining.dialogue import LONGEST, PAIR_FEATURES, TURN_FEATURES, Dialogue, Encode, Window, batch, dialogue, windows
from mining.rephrases import Mark, Marks
from retriever.interaction import Interaction

MODEL, MANIFEST = "rephrase.onnx", "manifest.json"
DIALOGUES_A_RUN = 128
_WAITING = 1024
"""Dialogues that are collected before they are run, so that those of one length can be run together."""


class RephraseModel:
    """Marks rephrases. directory: where `train-rephrase` put the model and its manifest. Safe to share between threads.

    encode: texts in normal form to the vectors of the encoder that it was trained with. encoder: fingerprint of that
    encoder. threads: cores to use.

    Raises FileNotFoundError where a file is missing and ValueError where one is not as the manifest says, or was made
    with another encoder or by another version.
    """

    def __init__(self, directory: Path, encode: Encode, encoder: str, threads: int = 1) -> None:
        model = _verified(directory, encoder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._encode = encode

    def marks(
        self, people: Mapping[str, Sequence[Interaction]], progress: Callable[[int], None] = lambda n: None
    ) -> dict[str, Marks]:
        """The marks of everybody's turns, by user, each user's turns in time order. One pass, a thousand dialogues in
        memory at a time (at most some 50 MB). `progress`: called with the turns done since its last call."""
        out: dict[str, list[Mark | None]] = {}
        waiting: list[tuple[str, Window, Dialogue]] = []

        def mark() -> None:
            for (user, window, _), rows in zip(waiting, self.point([d for _, _, d in waiting]), strict=True):
                for i in range(window.first, min(window.last, window.stop - 1)):
                    later = rows[i - window.start, 2 + i - window.start :]
                    best = int(later.argmax())
                    out[user][i] = Mark(i + 1 + best, float(later[best]))
            waiting.clear()

        for user, turns in people.items():
            out[user] = [None] * len(turns)
            for window, habits in windows(turns):
                waiting.append((user, window, dialogue(turns[window.start : window.stop], habits)))
                if len(waiting) == _WAITING:
                    mark()
            progress(len(turns))
        mark()
        return dict(out)

    def point(self, dialogues: Sequence[Dialogue]) -> list[np.ndarray]:
        """Of each dialogue, float32 (turns, 1 + turns): the probability of each turn that it has no rephrase (column
        0), and that turn j is it (column 1 + j; 0 for j up to the turn itself)."""
        texts = list(dict.fromkeys(text for d in dialogues for text in d.texts))
        vectors = dict(zip(texts, self._encode(texts), strict=True))
        out: list[np.ndarray] = [np.empty(0, np.float32)] * len(dialogues)
        by_length = sorted(range(len(dialogues)), key=lambda row: len(dialogues[row].texts))
        for at in range(0, len(by_length), DIALOGUES_A_RUN):
            rows = by_length[at : at + DIALOGUES_A_RUN]
            b = batch([dialogues[row] for row in rows], vectors)
            given = {"vectors": b.vectors, "turns": b.turns, "pairs": b.pairs, "there": b.there}
            for row, logs in zip(rows, self._session.run(None, given)[0], strict=True):
                n = len(dialogues[row].texts)
                out[row] = np.exp(logs[:n, : n + 1])
        return out


def _verified(directory: Path, encoder: str) -> bytes:
    missing = [name for name in (MODEL, MANIFEST) if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} missing; it is no model of `query-rewrite train-rephrase`")
    manifest, model = json.loads((directory / MANIFEST).read_bytes()), (directory / MODEL).read_bytes()
    found = hashlib.sha256(model).hexdigest()
    if found != manifest["files"][MODEL]["sha256"]:
        raise ValueError(f"{MODEL} is not the file that {MANIFEST} lists: sha256 {found}")
    if manifest["features"] != features():
        raise ValueError("it was trained by another version of this program; train it anew")
    if manifest["encoder"] != encoder:
        raise ValueError(
            f"it was trained with encoder {manifest['encoder']}, this is {encoder}; train it with the same --encoder"
        )
    return model


def features() -> dict[str, object]:
    """What the model sees, for its manifest: another version may see something else."""
    return {"turn": list(TURN_FEATURES), "pair": list(PAIR_FEATURES), "longest": LONGEST}
