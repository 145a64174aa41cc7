"""The arrows and habits of the design, held by reading the source: nothing here runs the code it judges."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "vasa").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

BASE = {
    "records",
    "geometry",
    "audio",
    "video",
    "checkpoint",
    "device",
    "sentence",
    "progress",
    "workers",
    "supervised",
    "safe_pickle",
}
# Folder or top-level module of vasa -> what it may import of vasa, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(BASE, BASE),
    "nn": {"geometry"},
    "data": BASE,
    "pretrained": BASE | {"nn"},
    "face": BASE | {"nn", "pretrained"},
    "motion": BASE | {"nn", "pretrained"},
    "losses": BASE | {"nn", "pretrained"},
    "metrics": BASE | {"data", "pretrained"},
    "preprocess": BASE | {"data", "pretrained"},
    "inference": BASE | {"data", "face", "motion", "options", "preprocess", "pretrained"},
    "app": BASE | {"inference", "pretrained"},
    "training": BASE | {"data", "face", "losses", "metrics", "motion", "nn", "pretrained"},
    "benchmark": BASE
    | {
        "data",
        "face",
        "inference",
        "losses",
        "metrics",
        "motion",
        "nn",
        "preprocess",
        "pretrained",
        "training",
    },
    "options": set(),
}
TORCH_FREE = {"vasa.config", "vasa.options", "vasa.progress", "vasa.sentence"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, module_level: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import; only those that run when the module is imported if asked for."""
    pending: list[ast.AST] = [tree_of(path)]
    while pending:
        node = pending.pop()
        if module_level and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if module_level and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; modules here are named in full"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


def test_there_is_something_to_judge() -> None:
    assert len(MODULES) > 30
    assert SCRIPTS
    assert {name_of(path).split(".")[1] for path in MODULES if "." in name_of(path)} <= {
        *MAY_IMPORT,
        "config",
    }


def test_folders_import_only_what_the_table_allows() -> None:
    wrong = []
    for path in MODULES:
        parts = name_of(path).split(".")
        if len(parts) < 2 or parts[1] == "config":
            continue
        for line, name in imports(path):
            target = name.split(".")
            if target[0] != "vasa" or len(target) < 2 or target[1] == parts[1]:
                continue
            if target[1] not in MAY_IMPORT[parts[1]]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_nobody_imports_the_command_line_but_scripts() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in MODULES
        for line, name in imports(path)
        if (name.startswith("vasa.config") or name.startswith("scripts"))
        or (name.split(".")[0] in ("hydra", "omegaconf") and name_of(path) != "vasa.config")
    ]
    assert not wrong, "\n".join(wrong)


def test_tests_do_not_import_scripts() -> None:
    assert not [path for path in TESTS for _, name in imports(path) if name.split(".")[0] == "scripts"]


def module_path(name: str) -> Path | None:
    stem = ROOT.joinpath(*name.split("."))
    return next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)


def reachable(name: str) -> Iterator[tuple[str, str]]:
    """(module of ours, name it imports) over everything that importing ``name`` imports."""
    seen, pending = set(), [name]
    while pending:
        current = pending.pop()
        path = module_path(current)
        if path is None or current in seen:
            continue
        seen.add(current)
        for _, imported in imports(path, module_level=True):
            yield current, imported
            pending.append(imported)


@pytest.mark.parametrize(
    "name",
    sorted(
        TORCH_FREE
        | {name_of(path) for path in MODULES if path.stem == "config" or path.stem.endswith("_config")}
    ),
)
def test_options_import_no_heavy_package(name: str) -> None:
    heavy = {"torch", "numpy", "transformers", "diffusers", "PIL", "scipy", "cv2", "av", "skimage"}
    wrong = [f"{who} imports {what}" for who, what in reachable(name) if what.split(".")[0] in heavy]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_importing_the_door_imports_no_torch() -> None:
    code = "import sys, vasa.config; print(sorted({'torch', 'numpy', 'hydra'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"


def test_modules_log_and_never_print() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno} {function}"
        for path in MODULES
        for call, function in calls(path)
        if function in ("print", "pprint", "warnings.filterwarnings")
        or (function == "warnings.simplefilter" and len(call.args) < 2)  # one named kind may be silenced
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_loaded_by_executing_it() -> None:
    wrong = []
    for path in [*MODULES, *SCRIPTS]:
        wrong += [
            f"{path.relative_to(ROOT)}:{line} imports {name}"
            for line, name in imports(path)
            if name.split(".")[0] in ("pickle", "dill", "joblib", "cloudpickle")
            # the one reads pickles and runs nothing that they name, the other writes one
            and name_of(path) not in ("vasa.safe_pickle", "vasa.face.keypoints.template")
        ]
        for call, function in calls(path):
            unsafe = (
                (function == "torch.load" and keyword(call, "weights_only") != "True")
                or (function in ("np.load", "numpy.load") and keyword(call, "allow_pickle") == "True")
                or function in ("eval", "exec", "yaml.load", "torch.save", "os.system")
                or keyword(call, "shell") == "True"
            )
            if unsafe:
                wrong.append(f"{path.relative_to(ROOT)}:{call.lineno} {function}")
    assert not wrong, "\n".join(wrong)


def test_loading_is_strict() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in [*MODULES, *SCRIPTS]
        for call, _ in calls(path)
        if keyword(call, "strict") == "False" and ast.unparse(call.func) != "zip"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_exception_is_swallowed_whole() -> None:
    wrong = []
    for path in [*MODULES, *SCRIPTS]:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_for_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {mark}"
        for path in [*MODULES, *SCRIPTS, *TESTS]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for mark in marks
        if mark in line
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [
        path for path in [*MODULES, *SCRIPTS] if drawers & set(path.relative_to(ROOT).with_suffix("").parts)
    ]


def test_every_module_says_what_it_is() -> None:
    silent = [
        path.relative_to(ROOT)
        for path in [*MODULES, *SCRIPTS]
        if path.stat().st_size and not ast.get_docstring(tree_of(path))
    ]
    assert not silent


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path: Path) -> None:
    """Read config, build, call, write: about 40 lines, no loop, no tensor, and one door."""
    tree = tree_of(path)
    docstring = ast.get_docstring(tree, clean=False) or ""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) - len(docstring.splitlines()) <= 40
    assert f"python scripts/{path.name}" in docstring, "the docstring shows one command"
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.While, ast.ListComp))]
    assert ("vasa.config.main") in {name for _, name in imports(path)}
    heavy = {name.split(".")[0] for _, name in imports(path, module_level=True)} & {"torch", "numpy"}
    assert not heavy, "heavy imports belong inside run(), after the command line is known to be right"


def test_public_functions_are_annotated() -> None:
    wrong = []
    for path in MODULES:
        body = tree_of(path).body
        classes = [node for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        for node in [*body, *(inner for found in classes for inner in found.body)]:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            if bare or node.returns is None:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {bare}")
    assert not wrong, "\n".join(wrong)


def test_committed_text_speaks_only_of_the_project() -> None:
    """No path of a machine and no package registry. The words are cut so that this file passes itself."""
    words = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "pypi" + ".org", "pythonhos" + "ted.org"]
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git clone")
    wrong = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".png", ".jpg", ".mp4", ".wav", ".safetensors") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        wrong += [f"{name}: {word}" for word in words if word in text]
    assert not wrong, "\n".join(wrong)
