"""Tenants share a server and never each other's users: inside, a user's id holds the tenant it belongs to.

The id is changed at the edge, before anything looks at it, in every field called `user_id` of any message. So store,
caches, archive and whatever comes after them keep tenants apart without knowing of them.

    default tenant   bob      ->  bob                as in the log that a bundle was built from
                     \\x1fbob  ->  \\x1f\\x1f\\x1fbob     (which nobody writes, and which must be nobody else's)
    tenant acme      bob      ->  \\x1facme\\x1fbob

No tenant's name holds the separator, so that no two pairs of tenant and id give the same inner id.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from rewrite_service.errors import InvalidRequest

SEPARATOR = "\x1f"
"""ASCII's unit separator."""
MAX_TENANT_CHARS = 32
TENANT = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,31})?$"
"""What a tenant may be called; empty: the default tenant."""
USER_FIELD = "user_id"


def inner_id(tenant: str, user_id: str) -> str:
    """The id under which everything inside knows the user `user_id` of `tenant` ("": the default tenant)."""
    if tenant or user_id.startswith(SEPARATOR):
        return f"{SEPARATOR}{tenant}{SEPARATOR}{user_id}"
    return user_id


def outer_id(inner: str) -> tuple[str, str]:
    """The tenant and the id as its callers say it; the inverse of `inner_id`."""
    if not inner.startswith(SEPARATOR):
        return "", inner
    tenant, _, user_id = inner[1:].partition(SEPARATOR)
    return tenant, user_id


def enter_tenant(message: Message, tenant: str, most: int = 1000) -> None:
    """Puts the inner id in the place of every user's id in `message`, at any depth. `most`: entries of a list of
    messages with such ids, each of which costs time. Raises `InvalidRequest` beyond."""
    for field, is_user, repeated in _fields(message.DESCRIPTOR):
        if is_user:
            setattr(message, field, inner_id(tenant, getattr(message, field)))
        elif repeated:
            parts = getattr(message, field)
            if len(parts) > most:
                raise InvalidRequest(field, f"{len(parts)} entries", f"send at most {most}")
            for part in parts:
                enter_tenant(part, tenant, most)
        elif message.HasField(field):
            enter_tenant(getattr(message, field), tenant, most)


@lru_cache(maxsize=256)
def _fields(kind: Descriptor) -> tuple[tuple[str, bool, bool], ...]:
    """The fields that hold a user's id, or messages that do: name, whether it is the id itself, whether repeated."""
    return tuple(_walk(kind))


def _walk(kind: Descriptor) -> Iterator[tuple[str, bool, bool]]:
    for field in kind.fields:
        if field.name == USER_FIELD:
            if field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
                raise TypeError(f"{field.full_name} must be one string: it says whose the message is")
            yield field.name, True, False
        elif field.message_type is not None and _fields(field.message_type):
            if field.message_type.GetOptions().map_entry:
                raise TypeError(f"{field.full_name}: no user's id in a map")
            yield field.name, False, field.is_repeated
