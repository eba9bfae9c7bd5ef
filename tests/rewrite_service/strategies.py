"""Hypothesis strategies for turns: everything the value objects may hold, awkward texts included."""

from __future__ import annotations

from hypothesis import strategies as st

from retriever.interaction import (
    Channel,
    Context,
    Explicit,
    Feedback,
    Interaction,
    Interpretation,
    Outcome,
    Request,
)
from rewrite_service.access.tenants import inner_id

SENDABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Texts that protobuf can carry."""

ANY_TEXT = st.text(st.characters(), max_size=30)
"""Texts a log may hold, lone surrogates included."""

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128).filter(lambda text: text.strip())
users = st.builds(inner_id, st.sampled_from(["", "acme", "a-b.c"]), ids)
"""Ids of users as they are inside."""
stamps = st.integers(1, 4_102_444_799_999)
feedbacks = st.builds(
    Feedback, st.booleans(), st.none() | st.sampled_from(Explicit), st.none() | st.floats(0, 1e9, allow_nan=False)
)


def contexts(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Context]:
    states = st.dictionaries(texts, texts, max_size=4)
    return st.builds(Context, texts, texts, st.booleans(), texts, states, texts, texts, texts)


def requests(
    texts: st.SearchStrategy[str],
    users: st.SearchStrategy[str] = users,
    names: st.SearchStrategy[str] = ids,
    at: st.SearchStrategy[int] = stamps,
) -> st.SearchStrategy[Request]:
    confidence = st.none() | st.floats(0, 1)
    alternatives = st.lists(texts, max_size=4).map(tuple)
    return st.builds(
        Request, names, users, at, texts, st.sampled_from(Channel), alternatives, confidence, contexts(texts)
    )


def interactions(texts: st.SearchStrategy[str], *parts: st.SearchStrategy) -> st.SearchStrategy[Interaction]:
    slots = st.dictionaries(texts, texts, max_size=4).map(lambda found: tuple(sorted(found.items())))
    interpretations = st.builds(Interpretation, texts.filter(bool), slots)
    return st.builds(
        Interaction, requests(texts, *parts), st.none() | interpretations, st.sampled_from(Outcome), feedbacks
    )
