"""Which users are served rewrites and which are held out, so that the difference can be measured.

By a hash of the user's id and a salt: the same on every server and in every later log, with nothing to store, and
another salt draws others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b


class Arm(StrEnum):
    """What a user gets."""

    SERVED = "served"
    HOLD_OUT = "hold_out"


@dataclass(frozen=True, slots=True)
class HoldOut:
    """`share`: of the users who are held out, 0 to 1. `salt`: another one draws others."""

    share: float = 0.0
    salt: str = ""

    def arm(self, user_id: str) -> Arm | None:
        """None where nobody is held out: then there are no arms."""
        return arm_of(user_id, self.share, self.salt) if self.share > 0 else None


def arm_of(user_id: str, share: float, salt: str = "") -> Arm:
    """`share`: of the users who are held out, 0 to 1. Whoever is held out at one share is at every greater one."""
    key = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    digest = blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    return Arm.HOLD_OUT if int.from_bytes(digest) < share * 2**64 else Arm.SERVED
