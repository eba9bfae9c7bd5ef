"""Tries a bundle out in a process of its own, before a running server opens it.

Native readers (FAISS, LightGBM, onnxruntime) do not all survive a file that is whole and yet wrong: what would end the
server ends the trial instead. A bundle that opens, and answers requests, passes. Nobody waits for it: the trial runs at
the lowest priority, and in a crowd of server processes only the first tries, and tells the others.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mining.child_process import end_with
from rewrite_service.admin.files import FOLDER, locked, read_json, write_json
from rewrite_service.bundle import Bundle, check_whole, encoder_of, manifest_digest, open_bundle
from rewrite_service.errors import BundleError

_SECONDS = 600.0
_PASSED = "passed.json"
_REMEMBERED = 16
_PEOPLE = 100
"""Of whom the turns are read."""
_CACHE_BYTES = 16 << 20
_PROGRAM = f"import os; os.nice(19); from {__name__} import command; command()"
"""Steps back before it imports anything."""
_MEMORY_BYTES = 16 << 30
"""Of address space, beyond several times what the bundle has on disk: a table that claims to be endless is refused."""


def try_out(bundle: Path, state_dir: Path, stopping: Callable[[], bool] = lambda: False) -> None:
    """Returns where the bundle in folder `bundle` can be served. Raises BundleError with the reason, also once
    `stopping` says that nobody wants to know any more."""
    with locked(state_dir / FOLDER, "trial.lock"):
        check_whole(bundle)
        digest = manifest_digest(bundle)
        if digest not in _passed(state_dir):
            _run(bundle, stopping)
            _remember(state_dir, digest)


def has_served(bundle: Path, state_dir: Path) -> None:
    """Spares the bundle a trial when it is gone back to: a server has been started with it. Raises StoreError."""
    with locked(state_dir / FOLDER, "trial.lock"):
        digest = manifest_digest(bundle)
        if digest not in _passed(state_dir):
            _remember(state_dir, digest)


def _passed(state_dir: Path) -> list[str]:
    """The digests of bundles that passed, the latest last."""
    found = read_json(state_dir / FOLDER / _PASSED)
    return found if isinstance(found, list) else []


def _remember(state_dir: Path, digest: str) -> None:
    write_json(state_dir / FOLDER / _PASSED, [*_passed(state_dir), digest][-_REMEMBERED:])


def _run(bundle: Path, stopping: Callable[[], bool]) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(bundle), str(os.getpid())]
    end = time.monotonic() + _SECONDS
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while True:
            try:
                said = process.communicate(timeout=0.2)[1].strip().splitlines()
                break
            except subprocess.TimeoutExpired:
                if stopping() or time.monotonic() > end:
                    process.kill()
                    raise BundleError(f"{bundle}: was not ready in time; build the bundle anew") from None
    if process.returncode < 0:
        ended = signal.Signals(-process.returncode).name
        raise BundleError(f"{bundle}: whoever opens it crashes ({ended}); build the bundle anew")
    if process.returncode:
        refusal = said[-1] if said and said[-1].startswith(str(bundle)) else f"{bundle}: the trial failed"
        raise BundleError(refusal)


def be_humble(bundle: Path) -> None:
    """Takes what the server leaves."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # should memory end, this is the process to go
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    most = _MEMORY_BYTES + 4 * size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def check_answers(bundle: Path, opened: Bundle) -> None:
    """Reads some users' turns and asks some requests. Raises BundleError where that fails; may crash."""
    from rewrite_service.pipeline import WARM_UP_TEXTS_LATER, Pipeline
    from rewrite_service.store.embedded import EmbeddedStore

    try:
        opened.people.check(_PEOPLE)
        with tempfile.TemporaryDirectory(prefix="query-rewrite-trial-") as state_dir:
            pipeline = Pipeline(opened, EmbeddedStore(Path(state_dir)))
            pipeline.warm(WARM_UP_TEXTS_LATER)
            pipeline.close()
    except Exception as error:
        # Not what it says, which may be what somebody said.
        raise BundleError(f"{bundle}: cannot answer: {type(error).__name__}; build the bundle anew") from error


def main(bundle: Path) -> None:
    """The trial itself. Raises BundleError; may crash."""
    be_humble(bundle)
    check_answers(bundle, open_bundle(bundle, encoder_of(bundle), _CACHE_BYTES))


def command() -> None:
    """The program of the trial's process: ends with 1 and the reason on standard error where the bundle is refused."""
    try:
        if end_with(int(sys.argv[2])):
            main(Path(sys.argv[1]))
    except BundleError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
