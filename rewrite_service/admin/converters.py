"""AdminService's messages to value objects and back; pure. What comes in is checked here: `InvalidRequest` names the
field."""

from __future__ import annotations

from pathlib import Path

from retriever.normalise import normalise
from rewrite_service.admin.rules import Rule, RuleKind
from rewrite_service.converters import MAX_TIMESTAMP_MS
from rewrite_service.errors import InvalidRequest
from rewrite_service.pb import admin_pb2 as pb
from rewrite_service.swap.control import BundlesStatus, Swapped

MAX_TEXT_CHARS = 1000
MAX_AUTHOR_CHARS = 128
MAX_PATH_CHARS = 4096
MAX_VERSION_CHARS = 64

_KINDS = {RuleKind.BLOCK: pb.RULE_KIND_BLOCK, RuleKind.PIN: pb.RULE_KIND_PIN}


def to_bundle(message: pb.SwapBundleRequest) -> tuple[Path | None, str | None]:
    """The path or the version that is meant; neither: None twice."""
    path = _text(message.path, "path", MAX_PATH_CHARS)
    version = _text(message.version, "version", MAX_VERSION_CHARS)
    if path and version:
        raise InvalidRequest("version", "given besides path", "name the bundle by one of them")
    if path and (not path.startswith("/") or "\x00" in path):
        raise InvalidRequest("path", "no absolute path", "name the folder as the server's machine does, from the root")
    return Path(path) if path else None, version or None


def to_from_version(message: pb.RollBackRequest) -> str | None:
    return _text(message.from_version, "from_version", MAX_VERSION_CHARS) or None


def to_rule(message: pb.BlockRequest | pb.PinRequest, now_ms: int) -> Rule:
    """The rule that is asked for, made at `now_ms`."""
    kind = RuleKind.PIN if isinstance(message, pb.PinRequest) else RuleKind.BLOCK
    heard = normalise(_text(message.heard, "heard", MAX_TEXT_CHARS))
    if (message.heard or kind is RuleKind.PIN) and not heard:
        raise InvalidRequest("heard", "nothing is spelled in it", "say what is heard")
    rewrite = _needed(message.rewrite, "rewrite", MAX_TEXT_CHARS)
    if not normalise(rewrite):
        raise InvalidRequest("rewrite", "nothing is spelled in it", "say what would be asked instead")
    if message.expires_ms and not now_ms < message.expires_ms < MAX_TIMESTAMP_MS:
        raise InvalidRequest("expires_ms", "not in the future, or after 2100", "give milliseconds since 1970, or 0")
    author = _needed(message.author, "author", MAX_AUTHOR_CHARS)
    reason = _needed(message.reason, "reason", MAX_TEXT_CHARS)
    return Rule(kind, heard, rewrite, author, reason, now_ms, message.expires_ms)


def to_pair(message: pb.UnblockRequest) -> tuple[str, str]:
    """What is heard and its rewrite, in normal form."""
    heard = _text(message.heard, "heard", MAX_TEXT_CHARS)
    return normalise(heard), normalise(_needed(message.rewrite, "rewrite", MAX_TEXT_CHARS))


def from_rule(rule: Rule) -> pb.Rule:
    return pb.Rule(
        kind=_KINDS[rule.kind],
        heard=rule.heard,
        rewrite=rule.rewrite,
        author=rule.author,
        reason=rule.reason,
        made_ms=rule.made_ms,
        expires_ms=rule.expires_ms,
    )


def from_status(status: BundlesStatus) -> pb.BundleStatusResponse:
    return pb.BundleStatusResponse(
        processes=[
            pb.ServerProcess(
                pid=p.pid,
                version=p.version,
                path=p.path,
                since_ms=p.since_ms,
                loading_version=p.loading_version,
                refused_version=p.refused_version,
                refused_because=p.refused_because,
            )
            for p in status.processes
        ],
        standing_version=status.standing or "",
        kept_versions=status.kept,
    )


def from_swapped(swapped: Swapped) -> pb.SwapBundleResponse:
    return pb.SwapBundleResponse(version=swapped.version, before_version=swapped.before)


def _text(text: str, field: str, most: int) -> str:
    if len(text) > most:
        raise InvalidRequest(field, f"{len(text)} characters", f"at most {most} are taken")
    return text


def _needed(text: str, field: str, most: int) -> str:
    if not text.strip():
        raise InvalidRequest(field, "missing", "it must be given")
    return _text(text, field, most)
