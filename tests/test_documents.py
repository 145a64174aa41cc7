"""What the documents tell a newcomer to type exists: targets, scripts, options, folders."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from vasa.config import DOORS, ROOT, UsageError, load

DOCUMENTS = [
    *(ROOT / name for name in ("Makefile", "README.md", "data/README.md", "checkpoints/README.md")),
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("app", "benchmark", "controls", "editing", "inference", "motion", "personalise")
    ),
    *sorted((ROOT / "scripts").glob("*.py")),
    *sorted((ROOT / "configs").rglob("*.yaml")),
]
EXPERIMENTS = ROOT / "configs" / "experiment" / "train_face"
DOOR_WORDS = [words.split(".py ")[1] for words in DOORS.values()]
RUN_BEHIND = {words: run for run, words in DOORS.items()}
COMMAND = re.compile(rf"scripts/(\w+)\.py((?: (?:{'|'.join(DOOR_WORDS)})\b(?!=))?)((?: +[\w.]+=[^\s`'\"]+)*)")


def commands() -> list[tuple[str, str, tuple[str, ...]]]:
    """Each command that a document names: (document, run, arguments)."""
    return [
        (
            str(path.relative_to(ROOT)),
            RUN_BEHIND.get(f"{name}.py{door}", name),
            tuple(word.rstrip(".,;:") for word in arguments.split()),
        )
        for path in DOCUMENTS
        for name, door, arguments in COMMAND.findall(path.read_text(encoding="utf-8"))
    ]


@functools.cache
def refusal(name: str, arguments: tuple[str, ...]) -> str | None:
    """Why a command is not understood; None where it is. Many documents name the same."""
    try:
        load(name, arguments)
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("document", "name", "arguments"), sorted(set(commands())))
def test_every_documented_command_is_understood(document: str, name: str, arguments: tuple[str, ...]) -> None:
    assert (ROOT / "scripts" / DOORS.get(name, f"{name}.py").split()[0]).is_file()
    why_not = refusal(name, arguments)
    # a script may be named alone, or a variable holds its arguments
    assert why_not is None or (not arguments and "is missing" in why_not), why_not


def test_the_demo_is_trained_on_files_that_an_earlier_step_writes() -> None:
    """Each file that a command of `make train-demo` reads is written by one before it."""
    recipe = (ROOT / "Makefile").read_text().split("\ntrain-demo:")[1].split("\n\n")[0]
    steps = [(name, load(name, arguments.split())) for name, _, arguments in COMMAND.findall(recipe)]
    reads = {
        "train_face": ["init", "init_pose"],
        "encode_motion": ["face"],
        "train_motion": ["cache", "validation_cache"],
        "bundle": ["face", "motion", "results"],
        "benchmark_demo": ["checkpoint", "judges"],
    }
    written: list[Path] = []
    for name, cfg in steps:
        for option in reads.get(name, []):
            path = getattr(cfg, option)
            assert path is None or {path, *path.parents} & set(written), f"{name} reads {option}={path}"
        written.append(cfg.output if hasattr(cfg, "output") else cfg.run_dir)
    trained = {cfg.name for name, cfg in steps if name == "train_face"}
    shipped = {
        load("train_face", [f"experiment={path.stem}"]).name for path in EXPERIMENTS.glob("demo_*.yaml")
    }
    assert trained == shipped


def test_every_named_target_of_make_exists() -> None:
    makefile, readme = ((ROOT / name).read_text() for name in ("Makefile", "README.md"))
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^|')make ([a-z-]+)", readme + makefile, re.MULTILINE))
    assert {"demo", "infer", "test", "train-demo", "benchmark-demo"} <= named <= targets


def test_documents_are_found_and_a_wrong_option_would_be_noticed() -> None:
    assert len(commands()) > 20
    assert ("docs/benchmark.md", "benchmark_all", ("vs=HEAD",)) in commands(), "a word is another run"
    with pytest.raises(UsageError):
        load("train_face", ["experiment=demo_eyes"])
