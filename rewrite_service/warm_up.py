"""Runs each part of a pipeline once before the first request, so that nobody waits for a first time: native libraries
are loaded, code has run once, the pronunciations of the usual words are known."""

from __future__ import annotations

from collections.abc import Callable

from retriever.interaction import Interaction, Outcome, Request
from rewrite_service.assemble import Knowledge


def warm_up(
    knowledge: Knowledge, most: int, ask: Callable[[Request, bool], object], pause: Callable[[], None]
) -> None:
    """Asks some of the texts that everybody shares. No user's own rows are read for it: what the shared caches then
    hold would tell what somebody once said. `most`: texts, at most twice as many. `ask`: a request, and whether to
    explain it. `pause`: called between them, to let others have the processor."""
    shared = knowledge.shared
    rows = range(0, len(shared), max(1, len(shared) // most))
    texts = ["what is the weather like today", *(shared.text_at(row).text for row in rows)]
    for i, text in enumerate(texts):
        ask(Request("warm-up", "", 1, text), i < 2)
        pause()
    turns = [
        Interaction(Request(str(i), "", i * 60_000 + 1, t.text), t.reading(False), Outcome.OK)
        for i, t in enumerate(map(shared.text_at, rows))
    ]
    knowledge.personal_layer(turns)
