"""What a token may be for, and which scope each method of the service asks for: the one place where this is said."""

from __future__ import annotations

from enum import StrEnum

from google.protobuf.descriptor import Descriptor

from rewrite_service.pb import rewrite_pb2 as pb


class Scope(StrEnum):
    """A right that a token can carry. None includes another."""

    REWRITE = "rewrite"
    RECORD = "record"
    EXPLAIN = "explain"
    FORGET = "forget"
    ADMIN = "admin"
    CONSOLE = "console"


METHOD_SCOPES = {
    "Rewrite": Scope.REWRITE,
    "Record": Scope.RECORD,
    # Shows all that was weighed, and costs several times a Rewrite: for people and tools, not for the assistant.
    "Explain": Scope.EXPLAIN,
    # What the assistant learns of its users, told outright in place of recorded.
    "Teach": Scope.RECORD,
    "ListPreferences": Scope.RECORD,
    "RemovePreference": Scope.RECORD,
    # Destroys what nobody can bring back, so the token on the assistant's machines need not be able to.
    "ForgetUser": Scope.FORGET,
    # Shows what somebody said: for people who look into a complaint, and each look is written down.
    "DescribeUser": Scope.CONSOLE,
}
"""The scope of each method of RewriteService."""

_METHOD_OF = {
    method.input_type.full_name: method.name for method in pb.DESCRIPTOR.services_by_name["RewriteService"].methods
}


def scope_of(request: Descriptor) -> Scope:
    """The scope of the method that takes this message. Raises KeyError for one that nobody has given a scope, so that
    a server with such a method does not start."""
    return METHOD_SCOPES[_METHOD_OF[request.full_name]]
