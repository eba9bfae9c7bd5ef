"""The way of a request from query to decision, free of any transport.

    situation -> lookup -> query features -> triage -> encode -> personal and global candidates -> features -> ranker
    -> policy

Whatever breaks inside, `rewrite` answers: with one layer less, or with *pass* and the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import structlog

from ranker.features import features
from ranker.policy import Policy
from ranker.query_features import query_features
from ranker.retirement import choose
from retriever.candidates import Candidate
from retriever.interaction import Interaction, Request
from retriever.preferences import NOTHING_TAUGHT
from rewrite_service.admin.rule_book import RuleBook
from rewrite_service.answer import answer
from rewrite_service.arms import HoldOut
from rewrite_service.assemble import as_understood, find_candidates, open_request
from rewrite_service.bundle import Bundle
from rewrite_service.caches import Caches
from rewrite_service.decision import Decision, Layer, Reason
from rewrite_service.decision_cache import DecisionCache, key_of
from rewrite_service.errors import StoreError
from rewrite_service.experience_feed import ExperienceFeed
from rewrite_service.explanation import explain as explanation
from rewrite_service.forgetting import CacheByUser
from rewrite_service.known_rewrite import look_up
from rewrite_service.metrics.catalogue import STORE_ERRORS
from rewrite_service.people import People
from rewrite_service.stages import StageClock, StageCosts
from rewrite_service.store.base import Store, TurnFeedback
from rewrite_service.taught import as_decision, suggestion, taught_rewrites
from rewrite_service.user_loader import UserLoader
from rewrite_service.user_state import Look, UserState, UserStates, before, merge_turns
from rewrite_service.warm_up import warm_up

BOTH_LAYERS = frozenset(Layer)
FIRST_COSTS_S = {
    "recall": 0.0002, "load": 0.0002, "refresh": 0.00002, "query": 0.0005, "meaning": 0.002, "retrieve": 0.001,
    "features": 0.001, "predict": 0.0005,
}  # fmt: skip
"""What to expect of a stage before it has run, in seconds (`load` and `refresh`: for each of the user's turns); a stage
that does not fit the deadline is skipped."""
_RUN_IN_ANY_CASE = ("load", "refresh")
_TO_RANK = ("retrieve", "features", "predict")
WARM_UP_TEXTS = 50
WARM_UP_TEXTS_LATER = 40
"""Of a bundle that takes another's place: what the process itself needs is warm by then."""
MAX_TAKEN_OVER = 500
"""Users that a new bundle's pipeline knows before it serves."""

_log = structlog.get_logger()


class Pipeline:
    """A bundle and a store at work. Safe to call from several threads."""

    def __init__(
        self,
        bundle: Bundle,
        store: Store,
        user_cache_bytes: int = 256 << 20,
        policy: Policy | None = None,
        *,
        decision_cache_bytes: int = 0,
        decision_cache_span_ms: int = 10_000,
        rules: RuleBook | None = None,
        hold_out: HoldOut = HoldOut(),  # noqa: B008, it is frozen
        experience_every_s: float = 0.0,
    ) -> None:
        """`policy`: in place of the bundle's own. `decision_cache_bytes`: 0 remembers no decision; `..._span_ms`: for
        how long, of the requests' own time, one may be given again. `rules`: what an operator blocked and pinned.
        `experience_every_s`: seconds between looks at what came of rewrites for everybody; 0: only when
        `experience.refresh` is called."""
        self._bundle, self._store, self._policy = bundle, store, policy or bundle.policy
        self._costs = StageCosts(FIRST_COSTS_S, _RUN_IN_ANY_CASE)
        self._decisions = DecisionCache(decision_cache_bytes) if decision_cache_bytes else None
        self._span_ms = decision_cache_span_ms
        self._users = UserStates(bundle.people, store, bundle.knowledge, user_cache_bytes)
        self.caches = Caches(bundle.knowledge, store, self._users, self._decisions, decision_cache_span_ms)
        self._hold_out = hold_out
        self.experience = ExperienceFeed(store, bundle.people, bundle.knowledge.reactions, experience_every_s)
        self._loader = UserLoader(self._users, self._costs)
        by_user: list[CacheByUser] = [self._loader, self._users, self.experience]
        if self._decisions is not None:
            by_user.append(self._decisions)
        self.people = People(bundle, store, self._users, self.experience, by_user)
        self._rules = rules

    @property
    def bundle_version(self) -> str:
        return self._bundle.version

    @property
    def bundle_made_at(self) -> datetime:
        return self._bundle.made_at

    def rewrite(
        self,
        request: Request,
        deadline: float | None = None,
        *,
        explain: bool = False,
        layers: frozenset[Layer] = BOTH_LAYERS,
        earlier: Sequence[Interaction] = (),
    ) -> Decision:
        """The decision for `request`, by `deadline` (`time.monotonic()` seconds; None: no limit). Never raises for a
        fault inside. `explain`: with candidates and contributions, which costs several times more. `layers`: those
        that may speak; the turns just before count as situation in any case. `earlier`: others to explain it with."""
        if explain:
            earlier = as_understood(earlier, self._bundle.knowledge.shared)
            decided = self.decide(request, deadline, explain=True, layers=layers, earlier=earlier)[0]
            return self._ruled(decided, request)
        known, look = self._recall(request, deadline, layers)
        return self._ruled(known or self.decide(request, deadline, layers=layers, look=look)[0], request)

    def _ruled(self, decision: Decision, request: Request) -> Decision:
        """As operators have it, who may block and pin rewrites."""
        return decision if self._rules is None else self._rules.applied(decision, request)

    def decide(
        self,
        request: Request,
        deadline: float | None = None,
        *,
        explain: bool = False,
        layers: frozenset[Layer] = BOTH_LAYERS,
        look: Look | None = None,
        earlier: Sequence[Interaction] = (),
    ) -> tuple[Decision, Candidate | None]:
        """As `rewrite`, with the best candidate itself where there is one: what it is expected to be understood as.
        `look`: what was found of the user a moment ago, so that the store is asked once a request."""
        clock = StageClock(deadline, self._costs)
        try:
            decision, best = self._decide(request, clock, explain, layers, look=look, earlier=earlier)
            return decision.for_arm(self._hold_out.arm(request.user_id)), best
        except Exception as error:
            _log.error("rewrite failed", error=type(error).__name__)
            return self._pass(Reason.INTERNAL_ERROR, clock), None

    def at_hand(self, request: Request) -> Decision | None:
        """The decision for a request that came a moment ago, where nothing has to be waited for to be sure that it
        still holds. Where not, `rewrite` may find it all the same. Never raises."""
        if self._decisions is None or not len(self._decisions):
            return None
        began = time.perf_counter_ns()
        if (revision := self._store.revision_at_hand(request.user_id)) is None:
            return None
        known = self._given_again(request, revision, BOTH_LAYERS, began, misses_count=False)
        return None if known is None else self._ruled(known, request)

    def remembered(
        self, request: Request, deadline: float | None = None, layers: frozenset[Layer] = BOTH_LAYERS
    ) -> Decision | None:
        """The decision for a request that came a moment ago, if it is at hand: microseconds. None as well where the
        store fails or is too slow for the deadline: the whole way will say so. Nothing of the user is fetched for it.
        Never raises."""
        if self._decisions is None or not StageClock(deadline, self._costs).fits("recall", "recall"):
            return None
        began = time.perf_counter_ns()
        try:
            with self._costs.timed("recall"):
                revision = self._store.revision(request.user_id)
        except StoreError:
            STORE_ERRORS.inc("read")
            return None
        known = self._given_again(request, revision, layers, began)
        return None if known is None else self._ruled(known, request)

    def _recall(
        self, request: Request, deadline: float | None, layers: frozenset[Layer]
    ) -> tuple[Decision | None, Look | None]:
        """As `remembered`, for a request that goes on where there is none: with what was found of the user on the way,
        None where nobody has looked."""
        if self._decisions is None or not StageClock(deadline, self._costs).fits("recall", "recall"):
            return None, None
        began = time.perf_counter_ns()
        look = self._loader.look(request.user_id)
        if (user := look.state or look.stored) is None:
            return None, look
        return self._given_again(request, user.revision, layers, began), look

    def _given_again(
        self, request: Request, revision: int, layers: frozenset[Layer], began: int, *, misses_count: bool = True
    ) -> Decision | None:
        """The decision remembered for the request. `began`: when looking for it did, in `time.perf_counter_ns()`.
        `misses_count`: as of `DecisionCache.get`."""
        assert self._decisions is not None
        key = key_of(request, revision, layers, self._span_ms)
        found = self._decisions.get(key, request, misses_count=misses_count)
        if found is None:
            return None
        told = replace(found, stage_us={"remembered": (time.perf_counter_ns() - began) // 1000})
        return told.for_arm(self._hold_out.arm(request.user_id))

    @property
    def recall_s(self) -> float:
        """Seconds that looking for a remembered decision takes, by what it took lately."""
        return self._costs.expected("recall")

    def _remember(
        self,
        decision: Decision,
        request: Request,
        state: UserState | None,
        recent: Sequence[Interaction],
        layers: frozenset[Layer],
    ) -> None:
        """For the next moments; nothing that was decided with less than all there is, a turn of the situation that was
        this request's own or came later included: another request of the same moment may have to see it."""
        if self._decisions is None or state is None or decision.skipped or decision.candidates or decision.trial:
            return
        if len(recent) == len(state.recent):
            self._decisions.put(key_of(request, state.revision, layers, self._span_ms), request, decision, recent)

    def record(self, turns: Sequence[Interaction], feedback: Sequence[TurnFeedback] = ()) -> int:
        """Stores turns, then late feedback; durable on return, idempotent by interaction id. Returns how many turns
        were new. The users' next requests see them. Raises StoreError."""
        new = self._store.append(turns) if turns else 0
        if feedback:
            self._store.amend(feedback)
        self.experience.heard_of(turns, feedback)
        self._loader.heard_of([*(turn.request.user_id for turn in turns), *(late.user_id for late in feedback)])
        return new

    def warm(self, most: int = WARM_UP_TEXTS, pause: Callable[[], None] = lambda: None) -> None:
        """See `rewrite_service.warm_up`. No costs are learned of it: the first time is not like those after it."""

        def ask(request: Request, explain: bool) -> object:
            return self._decide(request, StageClock(), explain, BOTH_LAYERS, False)

        warm_up(self._bundle.knowledge, most, ask, pause)

    def cache_figures(self) -> dict[str, dict[str, int]]:
        """Hits and misses of each cache since the start, bytes and entries that it holds."""
        return self.caches.figures()

    def take_over(self, before: Pipeline, pause: Callable[[], None]) -> None:
        """Goes on with what `before` knows: what each stage costs, and the users it met last, who are loaded here too
        before they ask. One who cannot be loaded now is left to the next request. `pause`: called between users."""
        self._costs = self._loader.costs = before._costs
        self.experience.take_over(before.experience)
        for user_id in before._users.at_hand(MAX_TAKEN_OVER):
            with suppress(StoreError):  # no cost is learned of it: it shares the processor with requests
                self._users.load(user_id)
            pause()

    def retire(self) -> None:
        """Ends what is this pipeline's own, once another has taken its place; the store is that one's from now on."""
        self.experience.close(wait=False)
        self._loader.close(wait=False)

    def close(self) -> None:
        self.experience.close()
        self._loader.close(wait=True)
        self._store.close()

    def _decide(
        self,
        request: Request,
        clock: StageClock,
        explain: bool,
        layers: frozenset[Layer],
        triage: bool = True,
        look: Look | None = None,
        earlier: Sequence[Interaction] = (),
    ) -> tuple[Decision, Candidate | None]:
        """`triage`: whether to stop where the query looks fine; without it nothing is remembered, as no request is
        decided so. `look`, `earlier`: as of `decide`."""
        if not clock.fits("rank", "query"):  # which may be all that is needed
            return self._pass(Reason.OUT_OF_TIME, clock), None
        with clock.stage("personal"):
            state = self._loader.state(request.user_id, clock, look, "query", *_TO_RANK)
        latest = state.recent if state else ()
        recent = before(merge_turns(latest, earlier) if earlier else latest, request)

        taught_by = state.preferences if state and Layer.PERSONAL in layers else NOTHING_TAUGHT

        own = state.layer if state and Layer.PERSONAL in layers else None
        knowledge = self._bundle.knowledge
        with clock.stage("query"):
            opening = open_request(request, recent, own, knowledge, Layer.GLOBAL in layers)
            if opening is None:
                return self._pass(Reason.EMPTY_QUERY, clock), None
            alone = opening.x

            def said(decision: Decision) -> Decision:
                if state and not decision.is_rewrite and (helpful := suggestion(taught_by, alone)):
                    decision = replace(decision, suggestion=helpful)
                if triage and not explain:
                    self._remember(decision, request, state, recent, layers)
                return decision

            taught = taught_rewrites(taught_by, opening.x, knowledge.fragments)
            meant = taught[0] if taught and taught[0].exact else None
            if meant and not explain:
                return said(as_decision(meant, self.bundle_version, clock)), Candidate(meant.text, taught=meant)
            opening = replace(opening, taught=taught)
            harm = self.experience.now.judging(opening.x.query, state.experience if state else {})
            # Where the user should be known and is not, nobody can say that nothing speaks against it.
            by_lookup = triage and not taught and (state is not None or Layer.PERSONAL not in layers)
            ahead = look_up(opening.x, self._bundle.lookup, harm, request.interaction_id) if by_lookup else None
            if ahead and not explain:
                return said(ahead.decision(self.bundle_version, clock)), ahead.candidate
            of_query = query_features(opening.x)
            foretold = self._bundle.triage.win(of_query)
        looks_fine = triage and not taught and not ahead and foretold < self._bundle.triage.threshold
        if looks_fine and not explain:
            return said(self._pass(Reason.QUERY_LOOKS_FINE, clock, foretold)), None
        if not clock.fits("rank", *_TO_RANK):
            return self._pass(Reason.OUT_OF_TIME, clock), None
        unranked: list[Candidate] = []
        x = find_candidates(opening, knowledge, clock, unranked if explain else None)
        if len(x.candidates) == 1 and not looks_fine:
            return said(self._pass(Reason.NO_CANDIDATES, clock)), None
        if not clock.fits("rank", "features", "predict"):
            return self._pass(Reason.OUT_OF_TIME, clock), None
        with clock.stage("features"):
            vectors = features(x, of_query)
        with clock.stage("predict"):
            outcome = self._bundle.model.predict(vectors)
        grounds = (x, vectors, outcome, self._bundle.model, self._policy, harm, unranked) if explain else None
        explained = explanation(*grounds) if grounds else ()
        if looks_fine:
            return replace(self._pass(Reason.QUERY_LOOKS_FINE, clock, foretold), candidates=explained), None
        if meant:
            return as_decision(meant, self.bundle_version, clock, explained), Candidate(meant.text, taught=meant)
        if ahead:
            return ahead.decision(self.bundle_version, clock, explained), ahead.candidate
        choice = choose(x.candidates, outcome, self._policy, harm, request.interaction_id)
        assert choice.verdict.best is not None
        decision = answer(x, choice, self._policy, clock, explained, self.bundle_version)
        return said(decision), x.candidates[choice.verdict.best]

    def _pass(self, reason: Reason, clock: StageClock, win: float = 0.0) -> Decision:
        skipped = tuple(clock.skipped)
        return Decision(
            None, reason, win=win, bundle_version=self.bundle_version, stage_us=clock.stage_us, skipped=skipped
        )
