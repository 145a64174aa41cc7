"""The door: what a person may type, and what they are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest
import yaml

from vasa import config
from vasa.config import UsageError, load, main
from vasa.options import field_docs
from vasa.training.signals import Stopped

# Ordinary names, all of which Hydra's own command line refuses, and some that are less ordinary.
NAMES = [
    "café.jpg",
    "photo (1).jpg",
    "a=b.jpg",
    "l'ami.png",
    "a,b.jpg",
    "фото.jpg",
    "Frau [2].png",
    "two  spaces.jpg",
    "$HOME.jpg",
    "${image}.jpg",
    "\\${image}.jpg",
    "#1.jpg",
    "back\\slash.jpg",
    "trailing\\",
    " leading.jpg",
    "trailing.jpg ",
    'say "hi".png',
    "{a: 1}.png",
    "null.png",
    "true",
    "1e3",
    "写真.png",
    "-x.jpg",
    "%20&;|`x`.jpg",
    "new\nline.jpg",
    "a:b@c!d.jpg",
]


class Mood(Enum):
    CALM = 1
    GLAD = 2


@dataclass(kw_only=True, slots=True)
class Part:
    """How wide the part is."""

    width: int = 4  # px
    strength: float = 0.5
    """A share, 0 to 1."""

    def __post_init__(self) -> None:
        if self.width % 2:
            raise ValueError(f"part.width={self.width} is odd; wanted an even number.")


@dataclass(kw_only=True, slots=True)
class Run:
    """Does nothing, for tests.

    This paragraph is not shown.
    """

    image: Path  # a picture
    name: str = "demo"
    run_dir: Path = Path("runs/x")
    # Written above,
    # in two lines.
    optional: Path | None = None
    mood: Mood = Mood.CALM
    numbers: list[float] = field(default_factory=lambda: [1.0])
    loud: bool = False
    part: Part = field(default_factory=Part)
    parts: dict[str, Part] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def run_of_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    configs = tmp_path / "configs"
    (configs / "part").mkdir(parents=True)
    (configs / "experiment").mkdir()
    primary = {
        "defaults": ["toy_schema", {"part": "small"}, "_self_", {"experiment": None}],
        "run_dir": "runs/${name}",
        "parts": {"nose": {"width": 6}},
    }
    (configs / "toy.yaml").write_text(yaml.safe_dump(primary))
    (configs / "part" / "small.yaml").write_text("width: 2\n")
    (configs / "part" / "large.yaml").write_text("width: 20\n")
    (configs / "experiment" / "loud.yaml").write_text("# @package _global_\nloud: true\n")
    monkeypatch.setattr(config, "CONFIGS", configs)
    monkeypatch.setattr(config, "ROOT", tmp_path / "project")
    monkeypatch.setitem(config.RUNS, "toy", Run)
    monkeypatch.chdir(tmp_path)
    return configs


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a script says on stderr when it ends with code 1, without the word in front."""
    ran = []
    with pytest.raises(SystemExit) as end:
        main("toy")(ran.append)(arguments)
    assert end.value.code == 1
    assert not ran
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_passes_unharmed(name: str) -> None:
    cfg = load("toy", [f"image={name}", f"optional={name}", f"name={name}"])
    assert cfg.image == cfg.optional == Path(name)
    assert cfg.name == name


def test_a_name_that_means_missing_is_a_file_too() -> None:
    assert load("toy", ["image=???"]).image == Path("./???")


def test_home_folder_is_expanded_and_null_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere/me")
    cfg = load("toy", ["image=~/me.jpg", "optional=null"])
    assert cfg.image == Path("/somewhere/me/me.jpg")
    assert cfg.optional is None


def test_given_paths_are_relative_to_the_caller_and_defaults_to_the_project(tmp_path: Path) -> None:
    cfg = load("toy", ["image=me.jpg", "name=one"])
    assert cfg.image == Path("me.jpg")
    assert cfg.run_dir == tmp_path / "project" / "runs" / "one"
    assert load("toy", ["image=me.jpg", "run_dir=here"]).run_dir == Path("here")


def test_values_groups_and_experiments_are_read() -> None:
    arguments = [
        "image=x",
        "part=large",
        "part.strength=1e-1",
        "mood=GLAD",
        "numbers=[1,2.5]",
        "parts.nose.width=8",
    ]
    cfg = load("toy", [*arguments, "experiment=loud"])
    assert cfg.part == Part(width=20, strength=0.1)
    assert cfg.mood is Mood.GLAD
    assert cfg.numbers == [1.0, 2.5]
    assert cfg.loud
    assert cfg.parts == {"nose": Part(width=8)}
    assert load("toy", ["image=x"]).part == Part(width=2)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("imgae=x", "Option imgae does not exist; did you mean image?"),
        ("part.widht=2", "Option part.widht does not exist; did you mean part.width?"),
        ("width=2", "Option width does not exist; did you mean part.width?"),
        ("+image=x", "Option +image does not exist; did you mean image?"),
        ("zzzz=1", "Option zzzz does not exist; see --help."),
        ("part=tny", "part=tny is unknown: wanted one of large, small."),
        ("experiment=lod", "experiment=lod is unknown: wanted one of loud, null."),
        ("part.width=wide", "part.width=wide is of the wrong kind: wanted a whole number."),
        ("part.width=2.5", "part.width=2.5 is of the wrong kind: wanted a whole number."),
        ("part.strength=[1", "part.strength=[1 cannot be read: wanted a number."),
        ("part.width=", "part.width= is of the wrong kind: wanted a whole number."),
        ("loud=maybe", "loud=maybe is of the wrong kind: wanted true or false."),
        ("mood=SAD", "mood=SAD is of the wrong kind: wanted one of CALM, GLAD."),
        ("numbers=x", "numbers is of the wrong kind: wanted a list such as [1,2]."),
        ("parts.nose.widht=8", "Option parts.nose.widht does not exist; did you mean part.width?"),
        ("image=", "image= is empty: wanted a file name."),
        ("image", "Argument 'image' is not understood: options are written name=value (see --help)."),
        ("--image=x", "Argument '--image=x' is not understood: options are written name=value (see --help)."),
        ("part.width=3", "part.width=3 is odd; wanted an even number."),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(
    capsys: pytest.CaptureFixture[str], argument: str, sentence: str
) -> None:
    assert refusal(capsys, "image=x", argument) == sentence


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys) == "Option image is missing: add image=... (see --help)."


def test_a_mistake_in_a_file_names_the_file(run_of_tests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_of_tests / "part" / "small.yaml").write_text("widht: 2\n")
    assert refusal(capsys, "image=x") == (
        "configs/part/small.yaml: Option part.widht does not exist; did you mean part.width?"
    )
    (run_of_tests / "part" / "small.yaml").write_text("width: wide\n")
    assert refusal(capsys, "image=x") == (
        "configs/part/small.yaml: part.width=wide is of the wrong kind: wanted a whole number."
    )


def test_a_mistake_found_while_running_is_one_sentence_without_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(cfg: Run) -> None:
        cfg.image.read_bytes()

    with pytest.raises(SystemExit) as end:
        main("toy")(run)(["image=no such.jpg"])
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: no such.jpg: No such file or directory.\n"
    monkeypatch.setenv("VASA_TRACEBACK", "1")
    with pytest.raises(SystemExit):
        main("toy")(run)(["image=no such.jpg"])
    assert "Traceback" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback() -> None:
    def run(cfg: Run) -> None:
        raise KeyError("defect")

    with pytest.raises(KeyError, match="defect"):
        main("toy")(run)(["image=x"])


def test_ctrl_c_exits_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def run(cfg: Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        main("toy")(run)(["image=x"])
    assert end.value.code == 130
    assert capsys.readouterr().err == "Stopped by Ctrl-C.\n"


def test_a_stopped_training_exits_with_the_code_of_its_signal(capsys: pytest.CaptureFixture[str]) -> None:
    def run(cfg: Run) -> None:
        raise Stopped(7, signal.SIGTERM)

    with pytest.raises(SystemExit) as end:
        main("toy")(run)(["image=x"])
    assert end.value.code == 143
    assert capsys.readouterr().err.startswith("Stopped by SIGTERM at step 7; its state is saved")


def test_the_resolved_config_is_saved_as_plain_data(tmp_path: Path) -> None:
    seen = []
    main("toy")(seen.append)(["image=a b.jpg", "name=one", "mood=GLAD", f"run_dir={tmp_path / 'r'}"])
    saved = yaml.safe_load((tmp_path / "r" / "config.yaml").read_text())
    assert saved["image"] == "a b.jpg"
    assert saved["mood"] == "GLAD"
    assert saved["part"] == {"width": 2, "strength": 0.5}
    assert seen[0].run_dir == tmp_path / "r"


def test_help_shows_every_option_with_its_value_kind_and_documentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = []
    main("toy")(ran.append)(["--help", "part=large"])
    text = capsys.readouterr().out
    assert not ran
    assert "Does nothing, for tests." in text
    assert "not shown" not in text
    assert "image=...  (a file name)\n      a picture" in text
    assert "part.width=20  (a whole number)\n      px" in text
    assert "part.strength=0.5  (a number)\n      A share, 0 to 1." in text
    assert "part=  one of: large, small" in text
    assert field_docs(Run)["optional"] == "Written above, in two lines."


def test_usage_error_is_a_value_error() -> None:
    with pytest.raises(UsageError):
        load("toy", ["x=1"])
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize("arguments", [["--help"], ["imgae=x"]])
def test_a_script_answers_without_loading_torch(arguments: list[str], root: Path) -> None:
    """A poisoned torch on the path would be noticed: importing it ends the process with code 9."""
    code = (
        "import sys, runpy\n"
        "class Poison:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'numpy', 'transformers'): sys.exit(9)\n"
        "sys.meta_path.insert(0, Poison())\n"
        f"sys.argv = ['infer.py', *{arguments!r}]\n"
        f"runpy.run_path({str(root / 'scripts' / 'infer.py')!r}, run_name='__main__')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == (0 if arguments == ["--help"] else 1), result.stderr
    assert "image" in result.stdout + result.stderr
