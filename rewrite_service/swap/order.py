"""The order: which bundle an operator wants served, in a file that all server processes of a state folder look at.

It holds for as long as the bundle stands in the server's place that stood there when it was given: one that is put
there later was not what the order was about, and is taken.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from rewrite_service.admin.files import FOLDER, Stamp, read_json, stamp, write_json
from rewrite_service.bundle import version_of
from rewrite_service.errors import StoreError

_FILE = "order.json"


@dataclass(frozen=True, slots=True)
class Order:
    """`id`: unique. `path`, `version`: the bundle wanted. `standing`: the version that stood in the server's place;
    None: none that could be read."""

    id: str
    path: str
    version: str
    standing: str | None


def new_order(path: Path, version: str, standing: str | None) -> Order:
    return Order(uuid.uuid4().hex, str(path), version, standing)


def wanted(place: Path, standing: str | None, order: Order | None) -> Path:
    """The folder of the bundle to serve, by what stands in `place` and what was ordered."""
    if order is None or order.standing != standing or version_of(Path(order.path)) != order.version:
        return place
    return Path(order.path)


def order_stamp(state_dir: Path) -> Stamp | None:
    """Changes with each order."""
    return stamp(state_dir / FOLDER / _FILE)


def read_order(state_dir: Path) -> Order | None:
    """The last order given; None where there was none. Raises StoreError."""
    path = state_dir / FOLDER / _FILE
    record = read_json(path)
    if record is None:
        return None
    try:
        return Order(**record)
    except TypeError as error:
        raise StoreError(f"{path}: is no order; remove it") from error


def give_order(state_dir: Path, order: Order) -> None:
    """Tells all server processes of the state folder, now and after a restart. Raises StoreError."""
    write_json(state_dir / FOLDER / _FILE, asdict(order))
