"""Every command that the documents name can be given: targets of make, modules of the repository, `query-rewrite`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.core

from rewrite_service.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
BENCHES = sorted(
    place for place in ROOT.glob("benchmarks/**/*.py") if "\nusage: python -m " in place.read_text(encoding="utf-8")
)


def commands(document: Path) -> Iterator[str]:
    """What stands as code in `document`, a line at a time; lines that a backslash joins are one."""
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    for block in blocks:
        yield from (line.split(" #")[0] for line in block.splitlines())
    yield from spans


def named(pattern: str) -> list[tuple[str, str]]:
    """What `pattern` finds in the commands of the documents, each with the document that names it first."""
    found: dict[str, str] = {}
    for document in DOCUMENTS:
        for command in commands(document):
            for name in re.findall(pattern, command):
                found.setdefault(name, str(document.relative_to(ROOT)))
    return sorted(found.items())


TARGETS = named(r"(?:^|[;&(]|sudo) *make ((?:[A-Z_]+=\S+ )*[a-z][a-z-]*)")
MODULES = named(r"python3? -m ((?:benchmarks|deploy|mining|ranker|retriever|rewrite_service)[\w.]*)")
CALLS = [
    (call, document)
    for call, document in named(r"(?:^|[\s;&(/])query-rewrite ([a-z][a-z-]*(?: .*)?)$")
    if not document.startswith("docs/decisions/")  # which say what was weighed, too
]


@pytest.mark.parametrize("place", BENCHES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_bench_is_called_as_it_says(place: Path) -> None:
    said = re.search(r"\nusage: python -m ([\w.]+)", place.read_text(encoding="utf-8"))
    assert said is not None
    assert said[1] == ".".join(place.relative_to(ROOT).with_suffix("").parts)


def test_documents_name_commands() -> None:
    """The patterns find what they are for."""
    assert {"run", "test", "bench-ablations"} <= {name.split()[-1] for name, _ in TARGETS}
    assert "benchmarks.mining.quality" in {name for name, _ in MODULES}
    assert {"build", "serve"} <= {call.split()[0] for call, _ in CALLS}
    assert len(BENCHES) > 20


@pytest.mark.parametrize(("target", "document"), TARGETS)
def test_targets_can_be_made(target: str, document: str) -> None:
    """With all that they need: nothing is run."""
    dry = subprocess.run(
        ["make", "--dry-run", "--always-make", *target.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, f"{document} names `make {target}`: {dry.stderr}"
    assert dry.stdout.strip()


def test_what_can_be_made_can_be_made_with_all_it_needs() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^  make (\S+)", said, re.MULTILINE)
    assert "bench-quality" in targets
    dry = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize(("module", "document"), MODULES)
def test_modules_are_there(module: str, document: str) -> None:
    place = ROOT.joinpath(*module.split("."))
    assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), document


@pytest.mark.parametrize(("call", "document"), CALLS)
def test_query_rewrite_is_called_as_it_can_be(call: str, document: str) -> None:
    """Its commands and their options exist; values are not looked at."""
    command, words = typer.main.get_command(app), call.split()
    while words and isinstance(command, typer.core.TyperGroup):
        step = command.commands.get(words.pop(0))
        assert step is not None, f"{document}: query-rewrite {call}"
        command = step
    known = {name for given in command.params for name in (*given.opts, *given.secondary_opts)} | {"--help"}
    asked = {word.split("=")[0] for word in re.findall(r"(?:^|\s)(--[a-z][a-z-]*)", " ".join(words))}
    assert asked <= known, f"{document}: query-rewrite {call}"
