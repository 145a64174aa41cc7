"""Every config that ships: it composes, converts, survives being saved, and builds its classes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vasa import config
from vasa.checkpoint import from_plain, plain
from vasa.config import CONFIGS, DOORS, ROOT, RUNS, UsageError, load
from vasa.options import find, options, sections


def choices(name: str) -> dict[str, list[str]]:
    """Groups that a run may be composed from, with the names of their files."""
    defaults = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["defaults"]
    groups = [group for entry in defaults if isinstance(entry, dict) for group in entry]
    return {
        group.removesuffix(f"/{name}"): sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
        for group in groups
    }


def file_of(name: str, choice: str) -> str:
    """The file that an argument such as face=demo or experiment=demo_pose chooses."""
    group, chosen = choice.split("=")
    return f"{group}/{name}/{chosen}.yaml" if group == "experiment" else f"{group}/{chosen}.yaml"


def composed(name: str, *arguments: str) -> Any:
    """The run under arguments, with something for the options that have no default; and a person's consent,
    where nothing is done without it.
    """
    given = [*arguments, *(["consent=true"] if any(o.name == "consent" for o in options(RUNS[name])) else [])]
    while True:
        try:
            return load(name, given)
        except UsageError as error:
            words = str(error).split()
            if "is missing:" not in str(error):
                raise
            given.append(f"{words[1]}=some")


def test_composing_every_run_imports_no_torch() -> None:
    code = (
        "import sys; from vasa.config import RUNS, UsageError, help_of, load\n"
        "for name in RUNS:\n"
        "    help_of(name)\n"
        "    try: load(name)\n"
        "    except UsageError as error: assert 'is missing' in str(error)\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "[]", result.stderr


VARIANTS = [
    (name, f"{group}={choice}") for name in RUNS for group, names in choices(name).items() for choice in names
]


@pytest.mark.parametrize("name", RUNS)
def test_every_run_composes_converts_and_survives_saving(name: str) -> None:
    cfg = composed(name)
    assert type(cfg) is RUNS[name]
    assert from_plain(type(cfg), plain(cfg)) == cfg
    assert from_plain(type(cfg), yaml.safe_load(yaml.safe_dump(plain(cfg)))) == cfg


@pytest.mark.parametrize(("name", "choice"), VARIANTS)
def test_every_choice_composes_and_converts(name: str, choice: str) -> None:
    assert type(composed(name, choice)) is RUNS[name]


@pytest.mark.parametrize("name", RUNS)
def test_every_run_refuses_a_misspelt_option(name: str) -> None:
    option = next(iter(options(RUNS[name]))).name
    with pytest.raises(UsageError, match=f"Option {option}x does not exist; did you mean {option}?"):
        load(name, [f"{option}x=1"])


def test_a_misspelt_key_in_any_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file in turn gets a key too many; composing with it must fail and name the key."""
    monkeypatch.setattr(config, "CONFIGS", tmp_path)
    for path in CONFIGS.rglob("*.yaml"):
        (tmp_path / path.relative_to(CONFIGS)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.relative_to(CONFIGS)).write_text(path.read_text())
    cases = [(name, f"{name}.yaml", []) for name in RUNS]
    cases += [(name, file_of(name, choice), [choice]) for name, choice in VARIANTS]
    for name, file, arguments in cases:
        path = tmp_path / file
        text = path.read_text()
        path.write_text(text.replace("\n{}\n", "\n") + "\nmisspelt_key: 1\n")
        with pytest.raises(UsageError, match="misspelt_key does not exist"):
            load(name, arguments)
        path.write_text(text)


def test_scripts_configs_and_runs_belong_together() -> None:
    """A script's run has its name; more doors, as of ``benchmark.py data``, have it in front of theirs."""
    doors = {}
    for path in (ROOT / "scripts").glob("*.py"):
        doors[path.stem] = [
            ast.literal_eval(node.args[0])
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "main"
        ]
    assert all(name == given[0] for name, given in doors.items())
    assert all(door.startswith(f"{name}_") for name, given in doors.items() for door in given[1:])
    assert {door for given in doors.values() for door in given[1:]} == set(DOORS)
    found = sorted(door for given in doors.values() for door in given)
    assert found == sorted(RUNS) == sorted(path.stem for path in CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("name", RUNS)
def test_primary_files_are_ordered_and_repeat_no_default(name: str) -> None:
    """First the schema, then parts, then the file itself, then what must win over it; no value is default."""
    text = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    defaults = text.pop("defaults")
    assert defaults[0] == f"{name}_schema"
    own = defaults.index("_self_")
    after = {group.removesuffix(f"/{name}") for entry in defaults[own + 1 :] for group in entry}
    assert {"run", "experiment"} & set(choices(name)) <= after, "run and experiment change what the file says"
    assert_changes(text, RUNS[name], name)


@pytest.mark.parametrize(
    "path",
    sorted(p for p in CONFIGS.rglob("*.yaml") if p.parent != CONFIGS),
    ids=lambda p: f"{p.parent.name}/{p.name}",
)
def test_group_files_say_what_they_are_for(path: Path) -> None:
    comments = [
        line for line in path.read_text().splitlines() if line.startswith("# ") and "@package" not in line
    ]
    assert comments, "a first comment says which case this file is for, or which question it answers"


def assert_changes(values: dict[str, Any], cls: type, where: str) -> None:
    """Raises where a file writes down a default again: a default has one home."""
    defaults = {}
    for option in options(cls):
        *parents, leaf = option.name.split(".")
        owner: Any = cls
        for parent in parents:
            owner = next(hint for field, hint in sections(owner).items() if field == parent)
        field = owner.__dataclass_fields__[leaf]
        defaults[option.name] = plain(field.default)

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and find(cls, name) is None:
            for key, inner in value.items():
                walk(inner, f"{name}.{key}")
        elif name in defaults:
            assert value != defaults[name] or type(value) is not type(defaults[name]), (
                f"{where}: {name} is a default"
            )

    for key, value in values.items():
        walk(value, key)


@pytest.mark.parametrize("size", choices("train_face").get("face", []))
def test_every_face_builds(size: str) -> None:
    """Those of the papers on the meta device, which allocates nothing."""
    from vasa.face.volumetric.autoencoder import FaceAutoencoder

    cfg = composed("train_face", f"face={size}")
    with torch.device("cpu" if cfg.face.size <= 128 else "meta"):
        face = FaceAutoencoder(cfg.face)
    assert sum(parameter.numel() for parameter in face.parameters()) > 10_000


@pytest.mark.parametrize("size", choices("train_motion").get("motion", []) if "train_motion" in RUNS else [])
def test_every_motion_model_builds(size: str) -> None:
    from vasa.motion.windows import MotionDiffusion
    from vasa.records import MotionLayout

    cfg = composed("train_motion", f"motion={size}")
    layout = MotionLayout(slice(0, 3), slice(3, 5), slice(5, 6), slice(6, 26), 26)
    with torch.device("meta"):
        model = MotionDiffusion(cfg.motion, layout, 80)
    assert sum(parameter.numel() for parameter in model.parameters()) > 10_000
