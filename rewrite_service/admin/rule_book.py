"""Rules on disk, one file for all server processes of a state folder, and the view of it that each process has.

A reader asks the file's stamp at every request (one system call, microseconds) and reads it where it has changed: so a
rule counts from the next request on, in every process, and over restarts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import structlog

from retriever.interaction import Request
from rewrite_service.admin.files import FOLDER, locked, read_json, stamp, write_json
from rewrite_service.admin.rules import Rule, RuleKind, Rules
from rewrite_service.decision import Decision
from rewrite_service.errors import StoreError

FILE = "rules.json"
MAX_RULES = 1000
"""Every process reads all of them between two requests when one changes, in some ten milliseconds at the most. Expired
ones do not count: they are dropped when the next rule is made."""

_log = structlog.get_logger()
T = TypeVar("T")


def _now_ms() -> int:
    return int(time.time() * 1000)


def _from_record(record: Any) -> Rule:
    given = {name: record[name] for name in ("heard", "rewrite", "author", "reason")}
    if not all(isinstance(text, str) for text in given.values()):
        raise TypeError("a text is no string")
    return Rule(
        RuleKind(record["kind"]), **given, made_ms=int(record["made_ms"]), expires_ms=int(record["expires_ms"])
    )


class RuleBook:
    """The rules of a state folder. Safe to share between threads; several processes may have the same folder."""

    def __init__(self, state_dir: Path) -> None:
        """Raises StoreError where the file cannot be read: a server that does not know what is blocked must not
        start."""
        self._folder = state_dir / FOLDER
        self._path = self._folder / FILE
        self._name = str(self._path)
        self._lock = threading.Lock()
        self._stamp = stamp(self._name)
        self._rules = self._read()

    def current(self) -> Rules:
        """The rules as they are on disk now; where they cannot be read, those read last."""
        now = stamp(self._name)
        if now != self._stamp:
            with self._lock:
                try:
                    self._rules = self._read()
                except StoreError as error:
                    _log.error("rules cannot be read; those before go on", error=type(error).__name__)
                self._stamp = now
        return self._rules

    def applied(self, decision: Decision, request: Request) -> Decision:
        """What `decision` on `request` becomes under the rules that hold now."""
        rules = self.current()
        return rules.applied(decision, request, _now_ms()) if len(rules) else decision

    def add(self, rule: Rule) -> None:
        """Adds a rule, in place of one of the same kind about the same; durable on return. Raises StoreError, and
        ValueError where there are too many."""

        def change(rules: list[Rule]) -> tuple[list[Rule], None]:
            kept = [r for r in rules if r.holds(rule.made_ms)]
            new = Rules([*kept, rule]).all()
            if len(new) > MAX_RULES:
                raise ValueError(f"there are {MAX_RULES} rules; remove some")
            return new, None

        self._change(change)

    def remove(self, heard: str, rewrite: str) -> int:
        """Removes blocks and pins of this pair, both in normal form; returns how many there were. Raises StoreError."""

        def change(rules: list[Rule]) -> tuple[list[Rule], int]:
            left = [r for r in rules if r.pair != (heard, rewrite)]
            return left, len(rules) - len(left)

        return self._change(change)

    def _change(self, change: Callable[[list[Rule]], tuple[list[Rule], T]]) -> T:
        with locked(self._folder):
            rules, result = change(self._read().all())
            write_json(self._path, [asdict(rule) for rule in rules])
        self.current()
        return result

    def _read(self) -> Rules:
        record = read_json(self._path)
        try:
            return Rules(map(_from_record, record or ()))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self._path}: is no list of rules; mend it, or remove it") from error
