"""The people of a work folder, by id, with one bucket of them in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from mining.engines import columns, statements
from mining.engines.embedded import EmbeddedEngine
from mining.engines.folder import WorkFolder
from mining.sessions import by_user
from retriever.interaction import Interaction
from retriever.packed import key_hash

_BATCH = 1 << 13
_SEED = "training"


class PeopleOfLog(Mapping[str, Sequence[Interaction]]):
    """Users with their turns, each id once, in time order. Fast where users are asked for bucket by bucket, as they are
    iterated, or in order of the hash of their ids."""

    def __init__(self, folder: WorkFolder) -> None:
        self._folder, self._engine = folder, EmbeddedEngine()
        self._bucket, self._held = -1, dict[str, list[Interaction]]()
        self._turns_of: dict[str, int] = {}
        if folder.turns():
            users = self._engine.query(statements.USERS, {"turns": folder.paths(folder.turns())})
            found = zip(users.column("user_id").to_pylist(), users.column("turns").to_pylist(), strict=True)
            self._turns_of = dict(sorted(found, key=lambda user: (key_hash(user[0]), user[0])))

    def __len__(self) -> int:
        return len(self._turns_of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._turns_of)

    def __getitem__(self, user_id: str) -> list[Interaction]:
        if user_id not in self._turns_of:
            raise KeyError(user_id)
        bucket = columns.bucket_of(user_id, self._folder.buckets)
        if bucket != self._bucket:
            self._held = dict(self._read(self._folder.turns(bucket)))
            self._bucket = bucket
        return self._held[user_id]

    def sample(self, most_turns: int) -> dict[str, list[Interaction]]:
        """As many whole users as have no more than `most_turns` turns together: always the same ones of the same log,
        chosen by a hash of their ids, so that one who was chosen stays so while the log grows less than it is cut. In
        the order in which they first spoke; all of them where there is room."""
        chosen, room = [], most_turns
        for user in sorted(self._turns_of, key=lambda user: (key_hash(_SEED, user), user)):
            room -= self._turns_of[user]
            if room < 0:
                break
            chosen.append(user)
        if not chosen:
            return {}
        only = pa.table({"user_id": pa.array(chosen, pa.string())})
        turns = [t for _, theirs in self._read(self._folder.turns(), only) for t in theirs]
        turns.sort(key=lambda turn: (turn.request.timestamp_ms, turn.request.interaction_id))
        self._engine.close()  # whoever asks for a sample goes on with it for long, and may fork
        return by_user(turns)

    def _read(
        self, names: Sequence[str], only: pa.Table | None = None
    ) -> Iterator[tuple[str, list[Interaction]]]:
        statement = statements.turns_of_people(chosen=only is not None)
        ordered = f"{statement} ORDER BY {', '.join(statements.TURN_ORDER)}"
        tables = {} if only is None else {"chosen": only}
        found = self._engine.query(ordered, {"turns": self._folder.paths(names)}, tables)
        for person in columns.people(found.to_batches(_BATCH)):
            yield person.user_id, person.turns
