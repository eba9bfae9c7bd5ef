"""What serving rewrites changed, from a later log: defect rates of those who were served and of those held out.

Users are drawn into an arm, not requests, and one user's requests are alike. So rates are ratios of sums over users,
and their errors are told by the delta method (Deng, Knoblich and Lu 2018, "Applying the delta method in metric
analytics: a practical guide with novel ideas"). A request is a first attempt: repetitions after a failure would count
a failure twice, and are what good rewrites spare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mining.defects import assess, learn_reactions
from mining.reader import read_log
from mining.schema import parse_as_heard
from mining.sessions import by_user
from retriever.interaction import Interaction
from rewrite_service.arms import Arm, arm_of
from rewrite_service.examples import is_first_attempt

_Z95 = 1.959964
_Z80 = 0.841621
FEW_USERS = 30
"""Below so many users in an arm, intervals by the delta method are too narrow."""


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """`failed`: expected. `rate`: failed by request, with its standard error over users and its 95 % interval."""

    users: int
    requests: int
    failed: float
    rate: float
    error: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, requests: np.ndarray, failed: np.ndarray) -> ArmFigures:
        """`requests`, `failed`: (users,), of each user."""
        users, total = len(requests), float(requests.sum())
        if users < 2 or not total:
            return cls(users, int(total), float(failed.sum()), math.nan, math.nan, (math.nan, math.nan))
        rate = float(failed.sum()) / total
        spread = failed - rate * requests
        error = math.sqrt(users / (users - 1) * float(spread @ spread)) / total
        return cls(
            users, int(total), float(failed.sum()), rate, error, (max(0.0, rate - _Z95 * error), rate + _Z95 * error)
        )


@dataclass(frozen=True, slots=True)
class Experiment:
    """`reduction`: by how much less those served fail than those held out, as a share of the latter's rate; `interval`:
    95 %. `least_told`: the least reduction that as much data finds (at 5 %, two-sided) four times in five."""

    served: ArmFigures
    hold_out: ArmFigures
    reduction: float
    interval: tuple[float, float]
    least_told: float

    @property
    def few(self) -> bool:
        return min(self.served.users, self.hold_out.users) < FEW_USERS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"few_users": self.few}


def compare(served: ArmFigures, hold_out: ArmFigures) -> Experiment:
    """The interval is that of the logarithm of the ratio of rates: a ratio of two noisy figures is lopsided."""
    if not (served.rate > 0 and hold_out.rate > 0):
        return Experiment(served, hold_out, math.nan, (math.nan, math.nan), math.nan)
    ratio = served.rate / hold_out.rate
    error = math.hypot(served.error / served.rate, hold_out.error / hold_out.rate)
    interval = (1 - ratio * math.exp(_Z95 * error), 1 - ratio * math.exp(-_Z95 * error))
    return Experiment(served, hold_out, 1 - ratio, interval, 1 - math.exp(-(_Z95 + _Z80) * error))


def experiment(people: Mapping[str, Sequence[Interaction]], share: float, salt: str = "") -> Experiment:
    """`people`: each user's turns, as heard, in time order. `share`, `salt`: as the server had them (`arm_of`)."""
    reactions = learn_reactions(list(people.values()))
    rows: dict[Arm, list[tuple[float, float]]] = {arm: [] for arm in Arm}
    for user, turns in people.items():
        evidence = assess(turns, reactions)
        first = [e.defect for i, e in enumerate(evidence) if is_first_attempt(turns, evidence, i)]
        if first:
            rows[arm_of(user, share, salt)].append((len(first), sum(first)))
    by_arm = {arm: ArmFigures.of(*np.array(of, dtype=float).reshape(-1, 2).T) for arm, of in rows.items()}
    return compare(by_arm[Arm.SERVED], by_arm[Arm.HOLD_OUT])


def experiment_of_logs(logs: list[Path], share: float, salt: str = "") -> Experiment:
    """The same from files. Raises LogError."""
    return experiment(by_user(read_log(logs, parse=parse_as_heard).turns), share, salt)
