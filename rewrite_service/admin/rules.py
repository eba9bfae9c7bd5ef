"""Blocked and pinned rewrites: an operator's word goes before the ranker's. Pure; `rule_book` keeps them on disk.

A rule is about a pair of texts, what was heard and what would be asked instead, in whatever layer they are found and
for every user. A block makes a pass of the rewrite; with nothing heard in it, it blocks the rewrite for whatever was
heard. A pin makes a rewrite of everything heard so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from retriever.interaction import Request
from retriever.normalise import normalise
from rewrite_service.decision import Decision, Layer, Reason


class RuleKind(StrEnum):
    """What a rule does."""

    BLOCK = "block"
    PIN = "pin"


@dataclass(frozen=True, slots=True)
class Rule:
    """`heard`: in normal form; "" in a block: whatever was heard. `rewrite`: as it is to be asked; compared in normal
    form. `author`, `reason`: for people. `made_ms`, `expires_ms`: milliseconds since 1970 UTC; expires 0: never."""

    kind: RuleKind
    heard: str
    rewrite: str
    author: str
    reason: str
    made_ms: int
    expires_ms: int = 0

    @property
    def pair(self) -> tuple[str, str]:
        return self.heard, normalise(self.rewrite)

    def holds(self, now_ms: int) -> bool:
        return not self.expires_ms or now_ms < self.expires_ms


class Rules:
    """Rules by what they are about; immutable. Of one kind and pair, and of pins of one heard text, the last counts."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._blocks: dict[tuple[str, str], Rule] = {}
        self._pins: dict[str, Rule] = {}
        for rule in rules:
            if rule.kind is RuleKind.BLOCK:
                self._blocks[rule.pair] = rule
            else:
                self._pins[rule.heard] = rule

    def __len__(self) -> int:
        return len(self._blocks) + len(self._pins)

    def all(self) -> list[Rule]:
        """Every rule, expired ones included, the oldest first."""
        return sorted([*self._blocks.values(), *self._pins.values()], key=lambda rule: (rule.made_ms, rule.pair))

    def applied(self, decision: Decision, request: Request, now_ms: int) -> Decision:
        """What `decision` on `request` becomes under the rules that hold at `now_ms`. A pin goes before a block."""
        if not self._pins and (not self._blocks or decision.text is None):
            return decision
        heard = normalise(request.query)
        pin = self._pins.get(heard)
        if pin is not None and pin.holds(now_ms):
            return replace(
                decision, text=pin.rewrite, reason=Reason.PINNED, layer=Layer.GLOBAL, probability=1.0, margin=1.0
            )
        if decision.text is None:
            return decision
        rewrite = normalise(decision.text)
        for pair in ((heard, rewrite), ("", rewrite)):
            block = self._blocks.get(pair)
            if block is not None and block.holds(now_ms):
                return replace(decision, text=None, reason=Reason.BLOCKED)
        return decision
