"""HabitBench's dev requests as the service sees them, with the truth about every candidate.

The benchmark's assistant is asked what each candidate would have given. Only evaluation may do so.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import orjson

from mining.reader import read_log, read_records
from mining.schema import parse_request, to_record
from ranker.feature_input import FeatureInput
from ranker.features import features
from ranker.model import NEEDLESS, WIN, WRONG, RankerModel
from ranker.policy import Policy, Verdict, judge
from retriever.interaction import Interaction, Interpretation, Request
from rewrite_service.assemble import Knowledge, assemble
from rewrite_service.build import BuildSettings, build
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.progress import Progress
from rewrite_service.replay import in_time
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.user_state import UserStates, before

DRAWS = 400
Meaning = tuple[object, ...]
"""The intent, then the values of its slots."""


def folder() -> Path:
    """HabitBench's folder, from the environment or beside the checkout."""
    found = Path(os.environ.get("HABITBENCH", "../shared/habitbench")).resolve()
    if not (found / "log.jsonl.gz").is_file():
        raise SystemExit(f"no log.jsonl.gz in {found}; set HABITBENCH to HabitBench's folder")
    return found


def _unpacked(name: str) -> bytes:
    return gzip.decompress((folder() / name).read_bytes())


def _module(name: str) -> ModuleType:
    sys.dont_write_bytecode = True  # the data's folder is not ours to write to
    place = folder()
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
    spec = importlib.util.spec_from_file_location(name, place / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Asked:
    """One dev request. `right`: bool (candidates,), whether each would have given what was wanted; the first is the
    query as it is. `x`: float32 (candidates, features)."""

    request: Request
    kind: str
    input: FeatureInput
    x: np.ndarray
    right: np.ndarray

    @property
    def failed(self) -> bool:
        return not self.right[0]


class Truth:
    """What every dev request wanted, and what the benchmark's assistant makes of a text."""

    def __init__(self) -> None:
        place = folder()
        self.requests, _, _ = read_records([place / "dev_requests.jsonl.gz"], parse_request)
        self.history = read_log([place / "dev_log.jsonl.gz"]).turns
        self._wants = {t["interaction_id"]: t for t in map(json.loads, _unpacked("dev_truth.jsonl.gz").splitlines())}
        self._accounts = json.loads(_unpacked("accounts.json.gz"))
        self._assistant = _module("assistant").Assistant()

    def kind(self, request: Request) -> str:
        return self._wants[request.interaction_id]["kind"]

    def said(self, request: Request) -> str:
        """What was said, where the query is what was heard."""
        return self._wants[request.interaction_id]["said"]

    def wanted_text(self, request: Request) -> str:
        """The words that say in full what was wanted."""
        return self._wants[request.interaction_id]["want_text"]

    def wanted(self, request: Request) -> Meaning:
        want = self._wants[request.interaction_id]["want"]
        return tuple(tuple(v) if isinstance(v, list) else v for v in want)

    def resolve(self, request: Request, text: str) -> Meaning | None:
        """What the assistant makes of `text`, for the request's user and device; None: it does not understand."""
        account = self._accounts[request.user_id]
        screen = request.context.has_screen
        return self._assistant.resolve(text, screen, account["devices"], account["contacts"])

    def right(self, request: Request, text: str) -> bool:
        """Whether asking `text` gives what the request's user wanted."""
        return self.resolve(request, text) == self.wanted(request)

    def means(self, request: Request, made: Interpretation) -> bool:
        """Whether an interpretation, as the log writes it, is what the request's user wanted. The truth names the kind
        of request and its values; for general requests the kind is the log's intent and comes second."""
        kind, *values = self.wanted(request)
        if kind == "Generic":
            kind, *pairs = values
            return made == Interpretation(str(kind), tuple(sorted((str(k), str(v)) for k, v in pairs)))
        return made.intent == kind and sorted(value for _, value in made.slots) == sorted(map(str, values))

    def ask(
        self,
        bundle: Bundle,
        *,
        personal: bool = True,
        shared: bool = True,
        users: frozenset[str] | None = None,
        past: Sequence[Interaction] = (),
    ) -> list[Asked]:
        """Every dev request (of `users`, if given) in time order, each after what came before it. `past`: turns before
        the dev days that the bundle was not built from."""
        mine = lambda user: users is None or user in users  # noqa: E731
        requests = [r for r in self.requests if mine(r.user_id)]
        history = [t for t in (*past, *self.history) if mine(t.request.user_id)]
        out = []
        for request, made in assembled(bundle, requests, history, personal=personal, shared=shared):
            right = np.array([self.right(request, c.text) for c in made.candidates])
            out.append(Asked(request, self.kind(request), made, features(made), right))
        return out


@contextmanager
def learned(turns: Iterable[Interaction]) -> Iterator[tuple[Bundle, dict[str, Any]]]:
    """A bundle built from a log of these turns, with what is expected of it on held-out days; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="query-rewrite-quality-") as place:
        log, out = Path(place) / "log.jsonl", Path(place) / "bundle"
        log.write_bytes(b"".join(orjson.dumps(to_record(t), option=orjson.OPT_APPEND_NEWLINE) for t in turns))
        report = build([log], out, BuildSettings(), Progress()).learned.report
        yield open_bundle(out, encoder_of(out), 1 << 30), report


def reachable(asked: Sequence[Asked]) -> int:
    """How many of the failed requests have a right candidate."""
    return sum(a.failed and bool(a.right[1:].any()) for a in asked)


def assembled(
    bundle: Bundle,
    requests: list[Request],
    history: list[Interaction],
    *,
    personal: bool = True,
    shared: bool = True,
) -> Iterator[tuple[Request, FeatureInput]]:
    """The requests in time order with their candidates, each after what came before it. Empty ones are left out."""
    knowledge: Knowledge = bundle.knowledge
    with tempfile.TemporaryDirectory(prefix="query-rewrite-quality-") as state:
        store = EmbeddedStore(Path(state))
        try:
            states = UserStates(bundle.people, store, knowledge, 1 << 30)
            for event in in_time(requests, history):
                if isinstance(event, list):
                    store.append(event)
                    continue
                user = states.cached(event.user_id) or states.load(event.user_id)
                made = assemble(
                    event, before(user.recent, event), user.layer if personal else None, knowledge, use_shared=shared
                )
                if made is not None:
                    yield event, made
        finally:
            store.close()


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts over requests, and what follows from them; shares 0 to 1."""

    requests: int
    failed: int
    wins: int
    losses: int
    missed: int
    needless: int

    @property
    def reduction(self) -> float:
        return (self.wins - self.losses) / self.failed if self.failed else 0.0

    @property
    def ratio(self) -> float:
        return self.wins / max(1, self.losses + self.missed)

    def record(self) -> dict[str, float]:
        """As results files have them."""
        return {"reduction": round(self.reduction, 4), "wins_per_harm": round(self.ratio, 2), **asdict(self)}

    def __str__(self) -> str:
        return (
            f"{self.reduction:6.1%} at {self.ratio:5.1f}  ({self.wins} wins, {self.losses} losses, "
            f"{self.missed} missed, {self.needless} needless of {self.requests}, {self.failed} failed)"
        )


Outcome = tuple[str, bool, int]
"""User, whether the query fails as it is, and WRONG, NEEDLESS or WIN of the rewrite; -1 where it is left alone."""


def outcome_of(asked: Asked, verdict: Verdict, policy: Policy) -> Outcome:
    result = -1
    if policy.accepts(verdict):
        assert verdict.best is not None
        right = bool(asked.right[verdict.best])
        result = WRONG if not right else WIN if asked.failed else NEEDLESS
    return asked.request.user_id, asked.failed, result


def decide(asked: Sequence[Asked], model: RankerModel, policy: Policy) -> list[Outcome]:
    """What a model and its policy do to each request."""
    verdicts = [judge(a.input.candidates, model.predict(a.x), policy.calibration) for a in asked]
    return [outcome_of(a, v, policy) for a, v in zip(asked, verdicts, strict=True)]


def figures(outcomes: Sequence[Outcome]) -> Figures:
    counts = {(failed, result): 0 for failed in (False, True) for result in (-1, WRONG, NEEDLESS, WIN)}
    for _, failed, result in outcomes:
        counts[failed, result] += 1
    return Figures(
        requests=len(outcomes),
        failed=sum(failed for _, failed, _ in outcomes),
        wins=counts[True, WIN],
        losses=counts[False, WRONG],
        missed=counts[True, WRONG],
        needless=counts[False, NEEDLESS],
    )


def intervals(outcomes: Sequence[Outcome]) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of reduction and ratio, people drawn with replacement."""
    by_user: dict[str, list[Outcome]] = {}
    for o in outcomes:
        by_user.setdefault(o[0], []).append(o)
    users, rng = list(by_user), np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        sample = [o for i in rng.integers(0, len(users), len(users)) for o in by_user[users[i]]]
        drawn.append(figures(sample))
    span = lambda name: tuple(np.quantile([getattr(f, name) for f in drawn], (0.025, 0.975)).tolist())  # noqa: E731
    return {"reduction": span("reduction"), "ratio": span("ratio")}
