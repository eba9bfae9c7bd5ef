"""The way of a request from query to decision, free of any transport.

    situation -> encode -> personal and global candidates -> features -> ranker -> policy

Whatever breaks inside, `rewrite` answers: with one layer less, or with *pass* and the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
import structlog

from ranker.feature_names import NAMES
from ranker.features import FeatureInput, features
from ranker.model import NEEDLESS, WIN
from ranker.policy import Policy, Verdict, judge
from retriever.candidates import Candidate
from retriever.interaction import Interaction, Request
from retriever.personal_layer import PersonalLayer
from rewrite_service.assemble import assemble
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.decision import Contribution, Decision, Layer, Reason, ScoredCandidate
from rewrite_service.errors import StoreError
from rewrite_service.stages import StageClock
from rewrite_service.store.base import Store, TurnFeedback
from rewrite_service.user_state import UserState, UserStates

if TYPE_CHECKING:
    from rewrite_service.settings import Settings

BOTH_LAYERS = frozenset(Layer)
LOAD_USER_COST_S = 0.010
RANK_COST_S = 0.003
"""About what loading a user's rows and ranking take at worst; a stage that does not fit the deadline is skipped."""
WARM_UP_TEXTS = 150
MAX_LOADING = 256
"""Users waiting to be loaded in the background."""

_log = structlog.get_logger()


class Pipeline:
    """A bundle and a store at work. Safe to call from several threads."""

    def __init__(
        self, bundle: Bundle, store: Store, user_cache_bytes: int = 256 << 20, policy: Policy | None = None
    ) -> None:
        """`policy`: in place of the bundle's own."""
        self._bundle, self._store, self._policy = bundle, store, policy or bundle.policy
        self._users = UserStates(bundle.people, store, bundle.knowledge, user_cache_bytes)
        self._loading: set[str] = set()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load-user")

    @property
    def bundle_version(self) -> str:
        return self._bundle.version

    def rewrite(
        self,
        request: Request,
        deadline: float | None = None,
        *,
        explain: bool = False,
        layers: frozenset[Layer] = BOTH_LAYERS,
    ) -> Decision:
        """The decision for `request`, by `deadline` (`time.monotonic()` seconds; None: no limit). Never raises for a
        fault inside. `explain`: with candidates and contributions, which costs several times more. `layers`: those
        that may speak; the turns just before count as situation in any case."""
        return self.decide(request, deadline, explain=explain, layers=layers)[0]

    def decide(
        self,
        request: Request,
        deadline: float | None = None,
        *,
        explain: bool = False,
        layers: frozenset[Layer] = BOTH_LAYERS,
    ) -> tuple[Decision, Candidate | None]:
        """As `rewrite`, with the best candidate itself where there is one: what it is expected to be understood as."""
        clock = StageClock(deadline)
        try:
            return self._decide(request, clock, explain, layers)
        except Exception as error:
            _log.error("rewrite failed", error=type(error).__name__)
            return self._pass(Reason.INTERNAL_ERROR, clock), None

    def record(self, turns: Sequence[Interaction], feedback: Sequence[TurnFeedback] = ()) -> int:
        """Stores turns, then late feedback; durable on return, idempotent by interaction id. Returns how many turns
        were new. The users' next requests see them. Raises StoreError."""
        new = self._store.append(turns) if turns else 0
        if feedback:
            self._store.amend(feedback)
        return new

    def warm(self) -> None:
        """Runs each part on some of the bundle's own texts, so that no user waits for a first time: native libraries
        are loaded, and the pronunciations of the usual words are known."""
        shared = self._bundle.knowledge.shared
        rows = range(0, len(shared), max(1, len(shared) // WARM_UP_TEXTS))
        texts = ["what is the weather like today", *(shared.text_at(row).text for row in rows)]
        for i, text in enumerate(texts):
            self._decide(Request("warm-up", "", 1, text), StageClock(), i < 2, BOTH_LAYERS)

    def close(self) -> None:
        self._loader.shutdown(wait=True, cancel_futures=True)
        self._store.close()

    def _decide(
        self, request: Request, clock: StageClock, explain: bool, layers: frozenset[Layer]
    ) -> tuple[Decision, Candidate | None]:
        if not clock.fits("rank", RANK_COST_S):
            return self._pass(Reason.OUT_OF_TIME, clock), None
        with clock.stage("personal"):
            state = self._state(request.user_id, clock)
        recent = before(state.recent, request) if state else ()
        own = state.layer if state and Layer.PERSONAL in layers else None
        x = assemble(
            request,
            recent,
            own,
            self._bundle.knowledge,
            use_shared=Layer.GLOBAL in layers,
            clock=clock,
        )
        if x is None:
            return self._pass(Reason.EMPTY_QUERY, clock), None
        if len(x.candidates) == 1:
            return self._pass(Reason.NO_CANDIDATES, clock), None
        if not clock.fits("rank", RANK_COST_S):
            return self._pass(Reason.OUT_OF_TIME, clock), None
        with clock.stage("features"):
            vectors = features(x)
        with clock.stage("predict"):
            outcome = self._bundle.model.predict(vectors)
        verdict = judge(x.candidates, outcome, self._policy.calibration)
        explained = self._explain(x, vectors, outcome, own) if explain else ()
        assert verdict.best is not None
        return self._answer(x, verdict, own, clock, explained), x.candidates[verdict.best]

    def _state(self, user_id: str, clock: StageClock) -> UserState | None:
        """The user's state; None where it cannot be had in time, or the store fails. A load that would not fit the
        deadline goes on in the background, for the next request."""
        try:
            state = self._users.cached(user_id)
            if state is not None:
                return state
            if clock.fits("personal", LOAD_USER_COST_S):
                return self._users.load(user_id)
            self._load_later(user_id)
        except StoreError as error:
            clock.skipped.append("personal")
            _log.error("store failed", error=type(error).__name__)
        return None

    def _load_later(self, user_id: str) -> None:
        """Once a user, and only so many waiting: whoever is left out is loaded by a later request."""
        if user_id not in self._loading and len(self._loading) < MAX_LOADING:
            self._loading.add(user_id)
            self._loader.submit(self._load_quietly, user_id)

    def _load_quietly(self, user_id: str) -> None:
        try:
            self._users.load(user_id)
        except Exception as error:
            _log.error("loading a user failed", error=type(error).__name__)
        finally:
            self._loading.discard(user_id)

    def _answer(
        self,
        x: FeatureInput,
        verdict: Verdict,
        own: PersonalLayer | None,
        clock: StageClock,
        explained: tuple[ScoredCandidate, ...],
    ) -> Decision:
        assert verdict.best is not None
        best = x.candidates[verdict.best]
        policy = self._policy
        accepted = policy.accepts(verdict)
        if accepted:
            reason = Reason.CONFIDENT
        elif verdict.win < policy.least_win and verdict.leave >= verdict.win:
            reason = Reason.LEAVE_IS_BETTER
        elif verdict.probability < policy.threshold or verdict.win < policy.least_win:
            reason = Reason.BELOW_THRESHOLD
        else:
            reason = Reason.BELOW_MARGIN
        return Decision(
            text=best.text if accepted else None,
            reason=reason,
            probability=verdict.probability,
            margin=verdict.margin,
            win=verdict.win,
            layer=_layer_of(x, verdict.best, own),
            bundle_version=self.bundle_version,
            stage_us=clock.stage_us,
            skipped=tuple(clock.skipped),
            candidates=explained,
        )

    def _pass(self, reason: Reason, clock: StageClock) -> Decision:
        return Decision(
            None, reason, bundle_version=self.bundle_version, stage_us=clock.stage_us, skipped=tuple(clock.skipped)
        )

    def _explain(
        self, x: FeatureInput, vectors: np.ndarray, outcome: np.ndarray, own: PersonalLayer | None
    ) -> tuple[ScoredCandidate, ...]:
        added = self._bundle.model.contributions(vectors)
        made = [
            ScoredCandidate(
                text=c.text,
                layer=_layer_of(x, i, own),
                sources=_sources(c),
                probability=float(outcome[i, WIN] if i else outcome[0, NEEDLESS]),
                contributions=tuple(
                    Contribution(name, float(value), float(share))
                    for name, value, share in zip(NAMES, vectors[i], added[i], strict=True)
                ),
            )
            for i, c in enumerate(x.candidates)
        ]
        return (made[0], *sorted(made[1:], key=lambda c: -c.probability))


def before(recent: Sequence[Interaction], request: Request) -> list[Interaction]:
    """Only what came before the request, however late it is asked; a turn never counts as its own situation."""
    return [
        t
        for t in recent
        if t.request.timestamp_ms <= request.timestamp_ms and t.request.interaction_id != request.interaction_id
    ]


def _sources(c: Candidate) -> tuple[str, ...]:
    named = (
        ("query", c.is_query),
        ("personal", c.personal is not None and c.personal.people > 0),
        ("personal_repair", c.personal_repair > 0),
        ("global", c.shared is not None),
        ("global_repair", c.global_repair > 0),
        ("completion", c.completion is not None),
        ("composition", c.composition is not None),
    )
    return tuple(name for name, present in named if present)


def _layer_of(x: FeatureInput, i: int, own: PersonalLayer | None) -> Layer | None:
    """Personal where this user's own past holds the text, or names a value in it; the query itself has none."""
    c = x.candidates[i]
    if c.is_query:
        return None
    if own is not None and ((c.personal is not None and c.personal.people) or (c.composition and c.composition.own)):
        return Layer.PERSONAL
    return Layer.GLOBAL


def open_pipeline(bundle: Path, settings: Settings) -> Pipeline:
    """The pipeline for the bundle in `bundle` with the embedded store, warmed. Raises BundleError, StoreError."""
    from rewrite_service.store.embedded import EmbeddedStore

    faiss.omp_set_num_threads(1)  # one request, one core: the cores are shared by requests
    encoder = encoder_of(bundle, settings.encoder_threads)
    opened = open_bundle(bundle, encoder, settings.text_vector_cache_bytes)
    store = EmbeddedStore(settings.state_dir, max_turns_per_user=settings.max_turns_per_user)
    chosen = {name: getattr(settings, name) for name in ("threshold", "least_win")}
    policy = replace(opened.policy, **{name: value for name, value in chosen.items() if value is not None})
    pipeline = Pipeline(opened, store, settings.user_cache_bytes, policy)
    pipeline.warm()
    return pipeline
