"""The blocks of a replay, side by side in processes of their own.

A build spends most of its time replaying requests, in Python, and no block needs another: the one place where more
cores make it shorter. The processes are forks, so that the log is there once; what they make comes back pickled.

A fork takes over no threads, and a lock that one of them held stays locked. So the build closes its database before
(`PeopleOfLog.sample`), and of the libraries with threads of their own the forks call only the encoder's session and
faiss, each set to the thread that calls it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkContext

import faiss

from mining.child_process import end_with
from rewrite_service.errors import BundleError
from rewrite_service.examples import Example, Replay, examples

_LOOK_S = 0.2
_TELL_S = 0.05
"""How often the build looks at what its children have done, and how often they tell."""


class _Work:
    """What a child inherits by the fork: the replay, and what all have done so far."""

    def __init__(self, replay: Replay, context: ForkContext) -> None:
        self.replay = replay
        self.done = context.Value("q", 0)

    def block(self, number: int) -> list[Example]:
        unsaid, said = 0, time.monotonic()

        def step(n: int) -> None:
            nonlocal unsaid, said
            unsaid += n
            if time.monotonic() - said > _TELL_S:
                self.tell(unsaid)
                unsaid, said = 0, time.monotonic()

        made = list(self.replay.block(number, step))
        self.tell(unsaid)
        return made

    def tell(self, n: int) -> None:
        with self.done.get_lock():
            self.done.value += n


_work: _Work | None = None
"""Set before the fork, as a fork inherits what it finds; a pool can be handed nothing that is not pickled."""


def _begin(parent: int) -> None:
    """In a new process: it ends with the build, even one that is killed, and leaves Ctrl-C to it."""
    if not end_with(parent):
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faiss.omp_set_num_threads(1)


def _block(number: int) -> list[Example]:
    assert _work is not None
    return _work.block(number)


def replayed(replay: Replay, processes: int, progress: Callable[[int], None] = lambda n: None) -> list[Example]:
    """`examples`, in as many processes as `processes` says; in this one if it is 1. The result does not depend on it.
    Raises BundleError where a process is killed."""
    global _work
    if processes == 1:
        return list(examples(replay, progress))
    context = multiprocessing.get_context("fork")
    work = _work = _Work(replay, context)
    others = set(multiprocessing.active_children())
    try:
        with ProcessPoolExecutor(processes, context, _begin, (os.getpid(),)) as pool:
            blocks = [pool.submit(_block, number) for number in range(len(replay.starts))]
            try:
                _watch(blocks, work, progress)
                return [example for block in blocks for example in block.result()]
            except BaseException:
                # They would go on to the end of their blocks first.
                for child in set(multiprocessing.active_children()) - others:
                    child.kill()
                raise
    except BrokenProcessPool as error:
        raise BundleError(
            f"a process that replayed requests was killed; if memory ran short, try fewer than {processes} threads"
        ) from error
    finally:
        _work = None


def _watch(blocks: list[Future[list[Example]]], work: _Work, progress: Callable[[int], None]) -> None:
    """Until all are made, or one has failed."""
    told = 0
    pending = set(blocks)
    while pending:
        finished, pending = wait(pending, timeout=_LOOK_S)
        for block in finished:
            block.result()
        done = work.done.value
        if done > told:
            progress(done - told)
            told = done
