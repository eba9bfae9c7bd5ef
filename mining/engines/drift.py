"""How far what was learned has moved since people were last judged by it."""

from __future__ import annotations

from collections.abc import Mapping

from mining.pursuit import Bin, Pursuit
from mining.reactions import Reactions, Signals


def drift_of_reactions(seen: Mapping[Signals, int], old: Reactions, new: Reactions) -> float:
    """Mean change of an answered turn's probability of having failed, 0 to 1. `seen`: how many turns showed what."""
    moved = sum(times * abs(old.failed(signals) - new.failed(signals)) for signals, times in seen.items())
    return moved / max(1, sum(seen.values()))


def drift_of_pursuit(after_failure: Mapping[Bin, int], old: Pursuit, new: Pursuit) -> float:
    """Mean change of the probability, 0 to 1, that what came after a failure pursued the same wish."""
    moved = sum(times * abs(old.same_in(at) - new.same_in(at)) for at, times in after_failure.items())
    return moved / max(1, sum(after_failure.values()))
