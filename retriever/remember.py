"""Functions of texts that remember what they made of them: bounded in bytes, and emptied when somebody is forgotten.

`functools.lru_cache` bounds entries alone, and a text may have a thousand characters: somebody who asks such things on
purpose would fill some hundred megabytes. Hardly anything that long comes a second time, so it is computed each time.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Any, ParamSpec, TypeVar

LONGEST = 128
"""Characters of a key that is remembered: two or three times as many as a spoken request has."""
MOST_ENTRIES = 32_768
"""Of one function: some 8 MB where all keys are as long as can be and have a byte a letter."""

P = ParamSpec("P")
R = TypeVar("R")
_made: weakref.WeakSet[Any] = weakref.WeakSet()  # functools does not name the type of what lru_cache makes
_changing = threading.Lock()


def characters(*texts: str) -> int:
    """Of several texts together: the size of a key of them."""
    return sum(map(len, texts))


def remember(most: int = MOST_ENTRIES, size: Callable[..., int] = len) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for pure functions. `most`: results kept, the latest. `size`: of a call's arguments, in characters;
    what is greater than `LONGEST` is not kept. Thread-safe, as `functools.lru_cache` is."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached: Callable[..., R] = lru_cache(most)(function)
        with _changing:
            _made.add(cached)

        def remembering(*key: Any) -> R:
            return cached(*key) if size(*key) <= LONGEST else plain(*key)

        def remembering_one(text: Any) -> R:  # most are of one text, hundreds of times a request
            return cached(text) if len(text) <= LONGEST else plain(text)

        plain: Callable[..., R] = function
        made = remembering_one if size is len else remembering
        return update_wrapper(made, function)

    return decorate


def remembered() -> int:
    """How many results are kept, of all functions together."""
    return sum(cached.cache_info().currsize for cached in _all())


def forget_all() -> None:
    """Keeps nothing any more. Nobody can say whose the texts were, so that all go rather than one too few."""
    for cached in _all():
        cached.cache_clear()


def _all() -> list[Any]:
    with _changing:
        return list(_made)
