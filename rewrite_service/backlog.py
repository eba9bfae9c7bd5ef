"""What waits for a worker, and how long that will take: so that a request that could not be answered in time is told so
at the door, at once, and costs nothing.

A full queue serves nobody: everybody waits until their time is over, and the work is done for those who have left
(Nichols and Jacobson, Controlling Queue Delay, 2012). So the bound is on time, not on the number: a request is let in
while the wait before it, and its own turn, fit the patience it came with. Whether it is too much that is asked, or some
came at once by chance, the share of those who could not be let in of late tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from rewrite_service.errors import Momentary, Overloaded

_GAIN = 1 / 8
"""Weight of the latest run in the mean, as of round trips in TCP (Jacobson 1988)."""
_SHARE_GAIN = 1 / 32
"""Weight of the latest request in the share of those without time."""
TOO_MUCH = 0.25
"""Where so large a share of the latest requests had no time, too much is asked: ten in a row after none, or all that
is beyond four thirds of what the worker bears."""


class Backlog:
    """The jobs of one worker. `join`, `leave` and the questions are for the thread that hands jobs in, `begin` and
    `done` for the one that works. `clock`: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: set[Hashable] = set()  # adding and removing are one step each, whichever thread does it
        self._begun: float | None = None
        self._mean_s = 0.0
        self._without_time = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, job: Hashable) -> None:
        self._waiting.add(job)

    def leave(self, job: Hashable) -> None:
        """It is done, or is not wanted any more. Leaving twice is fine."""
        self._waiting.discard(job)

    def begin(self, job: Hashable) -> None:
        self._waiting.discard(job)
        self._begun = self._clock()

    def done(self, counts: bool = True) -> None:
        """`counts`: whether the job was one of those whose mean is kept."""
        if self._begun is not None and counts:
            self._mean_s += _GAIN * (self._clock() - self._begun - self._mean_s)
        self._begun = None

    @property
    def run_s(self) -> float:
        """Seconds a job takes, on average of late; 0 before the first."""
        return self._mean_s

    def rest_s(self) -> float:
        """Seconds until the job that is being worked on is done: what is left of the mean, and beyond it, as long as
        it has overrun already. So one that hangs is soon waited for by nobody."""
        begun = self._begun
        return 0.0 if begun is None else abs(self._mean_s - (self._clock() - begun))

    def admit(self, patience_s: float | None, most_s: float) -> None:
        """Raises `Overloaded` where the next job would wait too long: longer than `most_s` behind others, or so long
        that it is not done within `patience_s` (None: no end). The latter is `Momentary` where it is for one job alone,
        which takes more than twice the mean, or where few of the latest requests (under `TOO_MUCH`) had no time. An
        idle worker takes any job: it alone can show that jobs have become quicker again."""
        behind_s = len(self._waiting) * self._mean_s
        rest_s = self.rest_s()
        wait_s = behind_s + rest_s
        crowded = behind_s > most_s
        late = patience_s is not None and wait_s > 0 and wait_s + self._mean_s > patience_s
        self._without_time += _SHARE_GAIN * ((crowded or late) - self._without_time)
        if not (crowded or late):
            return
        usual_s = behind_s + min(rest_s, self._mean_s) + self._mean_s
        held_up = patience_s is not None and usual_s <= patience_s
        momentary = not crowded and (held_up or self._without_time < TOO_MUCH)
        raise (Momentary if momentary else Overloaded)(
            f"the wait would be about {1000 * wait_s:.0f} ms; go on without, or try again later", wait_s
        )
