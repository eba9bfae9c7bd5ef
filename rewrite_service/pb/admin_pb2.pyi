from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RuleKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RULE_KIND_UNSPECIFIED: _ClassVar[RuleKind]
    RULE_KIND_BLOCK: _ClassVar[RuleKind]
    RULE_KIND_PIN: _ClassVar[RuleKind]
RULE_KIND_UNSPECIFIED: RuleKind
RULE_KIND_BLOCK: RuleKind
RULE_KIND_PIN: RuleKind

class ServerProcess(_message.Message):
    __slots__ = ("pid", "version", "path", "since_ms", "loading_version", "refused_version", "refused_because")
    PID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    LOADING_VERSION_FIELD_NUMBER: _ClassVar[int]
    REFUSED_VERSION_FIELD_NUMBER: _ClassVar[int]
    REFUSED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    pid: int
    version: str
    path: str
    since_ms: int
    loading_version: str
    refused_version: str
    refused_because: str
    def __init__(self, pid: _Optional[int] = ..., version: _Optional[str] = ..., path: _Optional[str] = ..., since_ms: _Optional[int] = ..., loading_version: _Optional[str] = ..., refused_version: _Optional[str] = ..., refused_because: _Optional[str] = ...) -> None: ...

class BundleStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BundleStatusResponse(_message.Message):
    __slots__ = ("processes", "standing_version", "kept_versions")
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    STANDING_VERSION_FIELD_NUMBER: _ClassVar[int]
    KEPT_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    processes: _containers.RepeatedCompositeFieldContainer[ServerProcess]
    standing_version: str
    kept_versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, processes: _Optional[_Iterable[_Union[ServerProcess, _Mapping]]] = ..., standing_version: _Optional[str] = ..., kept_versions: _Optional[_Iterable[str]] = ...) -> None: ...

class SwapBundleRequest(_message.Message):
    __slots__ = ("path", "version")
    PATH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    path: str
    version: str
    def __init__(self, path: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class SwapBundleResponse(_message.Message):
    __slots__ = ("version", "before_version")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    before_version: str
    def __init__(self, version: _Optional[str] = ..., before_version: _Optional[str] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("from_version",)
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    from_version: str
    def __init__(self, from_version: _Optional[str] = ...) -> None: ...

class BlockRequest(_message.Message):
    __slots__ = ("heard", "rewrite", "author", "reason", "expires_ms")
    HEARD_FIELD_NUMBER: _ClassVar[int]
    REWRITE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    heard: str
    rewrite: str
    author: str
    reason: str
    expires_ms: int
    def __init__(self, heard: _Optional[str] = ..., rewrite: _Optional[str] = ..., author: _Optional[str] = ..., reason: _Optional[str] = ..., expires_ms: _Optional[int] = ...) -> None: ...

class PinRequest(_message.Message):
    __slots__ = ("heard", "rewrite", "author", "reason", "expires_ms")
    HEARD_FIELD_NUMBER: _ClassVar[int]
    REWRITE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    heard: str
    rewrite: str
    author: str
    reason: str
    expires_ms: int
    def __init__(self, heard: _Optional[str] = ..., rewrite: _Optional[str] = ..., author: _Optional[str] = ..., reason: _Optional[str] = ..., expires_ms: _Optional[int] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("kind", "heard", "rewrite", "author", "reason", "made_ms", "expires_ms")
    KIND_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    REWRITE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MADE_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    kind: RuleKind
    heard: str
    rewrite: str
    author: str
    reason: str
    made_ms: int
    expires_ms: int
    def __init__(self, kind: _Optional[_Union[RuleKind, str]] = ..., heard: _Optional[str] = ..., rewrite: _Optional[str] = ..., author: _Optional[str] = ..., reason: _Optional[str] = ..., made_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ...) -> None: ...

class RuleResponse(_message.Message):
    __slots__ = ("rule",)
    RULE_FIELD_NUMBER: _ClassVar[int]
    rule: Rule
    def __init__(self, rule: _Optional[_Union[Rule, _Mapping]] = ...) -> None: ...

class UnblockRequest(_message.Message):
    __slots__ = ("heard", "rewrite")
    HEARD_FIELD_NUMBER: _ClassVar[int]
    REWRITE_FIELD_NUMBER: _ClassVar[int]
    heard: str
    rewrite: str
    def __init__(self, heard: _Optional[str] = ..., rewrite: _Optional[str] = ...) -> None: ...

class UnblockResponse(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: int
    def __init__(self, removed: _Optional[int] = ...) -> None: ...

class ListRulesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRulesResponse(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    def __init__(self, rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ...) -> None: ...
