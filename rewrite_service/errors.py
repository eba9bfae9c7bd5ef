"""The service's errors, one small tree, mapped to gRPC codes in `rewrite_service.grpc_errors` alone.

RewriteError
├── InvalidRequest     the caller's request is bad; names the field and the remedy
├── Unauthenticated    the caller shows no token that is known
├── PermissionDenied   the caller's token is not for this
├── LimitReached       a bound on what is kept of one user; names the remedy
├── Overloaded         too much under way; shed at the door
├── NotReady           no bundle is loaded yet
├── NotFound           what an operator named is not there
├── NotDone            what an operator asked cannot be done as things are; what was before goes on
├── StillUnderWay      what an operator asked is not done yet, and goes on
├── BundleError        a bundle cannot be used: a part is missing, altered or of another schema
└── StoreError         the state store failed

Settings and the load test have errors of their own beside their code; logs have `mining.reader.LogError`, outside this
tree, since mining knows nothing of the service.
"""

from __future__ import annotations


class RewriteError(Exception):
    """Base of all errors raised on purpose. `client`: the name of the token of the call that it ended, for the log."""

    client: str | None = None


class InvalidRequest(RewriteError):
    """`field` is the path of the field at fault (`context.device_type`), `remedy` says what would be accepted."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field


class LimitReached(RewriteError):
    pass


class Unauthenticated(RewriteError):
    pass


class PermissionDenied(RewriteError):
    pass


class Overloaded(RewriteError):
    """`retry_after_s`: seconds after which trying again may help, where that is known."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Momentary(Overloaded):
    """There is no time for this request, and not too much is asked over all: the one that is being worked on takes
    unusually long, or some came at once."""


class NotReady(RewriteError):
    pass


class NotFound(RewriteError):
    pass


class NotDone(RewriteError):
    pass


class StillUnderWay(RewriteError):
    pass


class BundleError(RewriteError):
    pass


class StoreError(RewriteError):
    pass
