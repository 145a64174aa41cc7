"""The table of all runs, and the one door through which every script starts.

A run is a torch-free dataclass that nests the options of every folder it uses; its values are
``configs/<name>.yaml`` and the groups that file lists. To add a run:

1. in the folder of the class that reads them, put the options into its ``config.py``: a
``@dataclass(kw_only=True,
   slots=True)``, checked in ``__post_init__``, each field with its unit and source in a comment (``--help``
   shows it); declare files as ``Path``, so that any file name passes unharmed;
2. put the run's dataclass beside the function that the script calls, and a line into ``RUNS`` below;
3. write ``configs/<name>.yaml``: its ``defaults`` are ``<name>_schema``, then groups, then ``_self_``, then
   ``experiment/<name>: null``;
4. in the script: ``@main("<name>") def run(cfg: <Name>Run) -> None: ...`` and ``if __name__ == "__main__":
run()``.

A run that has a ``run_dir`` gets its resolved config written there. Only this module imports Hydra or
OmegaConf. It imports no torch, so ``--help`` and a misspelt option answer at once.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vasa.app.config import AppRun
from vasa.benchmark.config import (
    BenchmarkAllRun,
    BenchmarkDataRun,
    BenchmarkKeypointsRun,
    BenchmarkRun,
    PlanTrainingRun,
)
from vasa.data.synthetic.config import PreviewRun
from vasa.inference.config import (
    BundleRun,
    InferRun,
    MakeJobsRun,
    PublishedRun,
    RegionLeakRun,
    VerifyRun,
)
from vasa.inference.stream_config import StreamRun
from vasa.metrics.config import BenchmarkDemoRun, CalibrateRun, EvalRun
from vasa.options import Option, find, help_text, nearest, options
from vasa.preprocess.config import PreprocessRun, ReportDataRun
from vasa.preprocess.signals_config import CheckSignalsRun
from vasa.pretrained.config import WeightsRun
from vasa.sentence import sentence
from vasa.training.face_config import TrainFaceRun
from vasa.training.judge_config import TrainJudgesRun
from vasa.training.motion_config import EncodeMotionRun, TrainMotionRun
from vasa.training.personalise_config import PersonaliseRun
from vasa.training.study_config import StudyFaceRun, StudyMotionRun

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"


# Name of the script and of configs/<name>.yaml -> the run's dataclass.
RUNS: dict[str, type] = {
    "preview": PreviewRun,
    "preprocess": PreprocessRun,
    "check_signals": CheckSignalsRun,
    "report_data": ReportDataRun,
    "train_judges": TrainJudgesRun,
    "benchmark_demo": BenchmarkDemoRun,
    "benchmark": BenchmarkRun,
    "benchmark_all": BenchmarkAllRun,
    "benchmark_data": BenchmarkDataRun,
    "benchmark_keypoints": BenchmarkKeypointsRun,
    "plan_training": PlanTrainingRun,
    "train_face": TrainFaceRun,
    "study_face": StudyFaceRun,
    "study_motion": StudyMotionRun,
    "encode_motion": EncodeMotionRun,
    "train_motion": TrainMotionRun,
    "infer": InferRun,
    "stream": StreamRun,
    "app": AppRun,
    "personalise": PersonaliseRun,
    "verify": VerifyRun,
    "region_leak": RegionLeakRun,
    "bundle": BundleRun,
    "make_jobs": MakeJobsRun,
    "eval": EvalRun,
    "calibrate": CalibrateRun,
    "weights": WeightsRun,
    "weights_system": PublishedRun,
}
DOORS = {
    "benchmark_all": "benchmark.py all",
    "benchmark_data": "benchmark.py data",
    "benchmark_keypoints": "benchmark.py keypoints",
    "weights_system": "weights.py joyvasa",
}
"""Runs that are a word behind another's script."""


class UsageError(ValueError):
    """An option is misspelt, missing, or of the wrong kind. One sentence."""


def main(name: str) -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """Makes a function of a run config the entry of a script: reads the command line, reports errors, exits.

    The decorated function takes the arguments as a list (default: the command line). What a person can cause
    (ValueError, OSError, FloatingPointError) ends in one sentence and exit code 1, with a traceback only if
    VASA_TRACEBACK is set; any other exception is a defect and keeps its traceback.
    """

    def decorate(run: Callable[[Any], None]) -> Callable[..., None]:
        @functools.wraps(run)
        def door(arguments: Sequence[str] | None = None) -> None:
            given = list(sys.argv[1:] if arguments is None else arguments)
            logging.basicConfig(level=logging.WARNING, format="%(message)s")
            logging.getLogger("vasa").setLevel(logging.INFO)
            try:
                if any(argument in ("--help", "-h") for argument in given):
                    sys.stdout.write(help_of(name, [a for a in given if a not in ("--help", "-h")]))
                    return
                cfg = load(name, given)
                _record(cfg)
                run(cfg)
            except KeyboardInterrupt as stop:
                sys.stderr.write(f"{str(stop) or 'Stopped by Ctrl-C.'}\n")
                raise SystemExit(getattr(stop, "exit_code", 130)) from None
            except BrokenPipeError:
                raise SystemExit(1) from None  # the reader of our output has gone, as in `| head`
            except (ValueError, OSError, FloatingPointError) as error:
                if os.environ.get("VASA_TRACEBACK"):
                    traceback.print_exc()
                sys.stderr.write(f"error: {sentence(error)}\n")
                raise SystemExit(1) from None

        return door

    return decorate


def load(name: str, arguments: Sequence[str] = ()) -> Any:
    """The run config ``name`` under ``name=value`` arguments, checked and converted to its dataclass.

    Paths and strings are taken letter by letter. A path given is relative to the working directory, ``~`` is
    the home folder; a path left at its default is relative to the project. Raises: UsageError, and what
    ``__post_init__`` raises.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    tree, texts = _compose(name, arguments)
    try:
        cfg = OmegaConf.to_object(tree)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise UsageError(f"Option {key} is missing: add {key}=... (see --help).") from None
    _anchor_defaults(cfg, set(texts))
    return cfg


def help_of(name: str, arguments: Sequence[str] = ()) -> str:
    """The text of ``--help``: every option with its value under the arguments, kind and documentation."""
    from omegaconf import OmegaConf

    tree, _ = _compose(name, arguments)
    values = {option.name: OmegaConf.select(tree, option.name) for option in options(RUNS[name])}
    for option in options(RUNS[name]):
        if OmegaConf.is_missing(*_parent(tree, option.name)):
            values[option.name] = "..."
    usage = f"python scripts/{DOORS.get(name, f'{name}.py')} [name=value ...]"
    return help_text(RUNS[name], values, _choices(name), usage)


def _compose(name: str, arguments: Sequence[str]) -> tuple[Any, dict[str, str | None]]:
    """The config tree under the arguments, and those arguments that are paths or strings."""
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    texts, overrides = _sorted_arguments(name, arguments)
    ConfigStore.instance().store(name=f"{name}_schema", node=RUNS[name])
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            tree = compose(name, overrides=overrides)
        for key, value in texts.items():
            OmegaConf.update(tree, key, value if value is None else _without_interpolation(value))
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_composition_sentence(name, error)) from error
    return tree, texts


def _sorted_arguments(name: str, arguments: Sequence[str]) -> tuple[dict[str, str | None], list[str]]:
    """Arguments that are paths or strings, as their values; and the others, as overrides that Hydra can
    parse.

    Hydra's grammar dies of ordinary file names (``photo (1).jpg``, ``l'ami.png``), so it never sees them.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    choices = _choices(name)
    texts: dict[str, str | None] = {}
    overrides = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.strip()
        if not equals or key.startswith("-"):
            raise UsageError(
                f"Argument {argument!r} is not understood: options are written name=value (see --help)."
            )
        option = find(RUNS[name], key)
        if key in choices:
            if value not in choices[key]:
                raise UsageError(f"{key}={value} is unknown: wanted one of {', '.join(choices[key])}.")
            overrides.append(f"{_group(name, key)}={value}")
        elif option is None:
            raise UsageError(_misspelt(key, [*_names(name), *choices]))
        elif option.is_text:
            texts[key] = _text(option, value)
        else:
            try:
                OverridesParser.create().parse_override(f"{key}={value}")
            except HydraException:
                raise UsageError(f"{key}={value} cannot be read: wanted {option.wanted}.") from None
            overrides.append(f"{key}={value}")
    return texts, overrides


def _text(option: Option, value: str) -> str | None:
    if option.optional and value == "null":
        return None
    if not option.is_path:
        return value
    if not value:
        raise UsageError(f"{option.name}= is empty: wanted {option.wanted}.")
    if "\0" in value:
        raise UsageError(f"{option.name} holds a zero byte: wanted {option.wanted}.")
    return str(Path(value).expanduser())


def _without_interpolation(value: str) -> str:
    """A string that OmegaConf reads back as exactly ``value``: ``${`` is escaped and ``???`` is no missing
    value.
    """
    if value == "???":
        return "./???"
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", value)


def _groups(name: str) -> dict[str, str | None]:
    """The groups that a run's primary file lists, and the file it takes of each; None: none, unless asked."""
    import yaml

    primary = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    return dict(next(iter(entry.items())) for entry in primary["defaults"] if isinstance(entry, dict))


def _group(name: str, key: str) -> str:
    """The folder of a group: ``experiment=`` of each run has a folder of its own, experiment/<run>."""
    return f"{key}/{name}" if f"{key}/{name}" in _groups(name) else key


def _choices(name: str) -> dict[str, list[str]]:
    """The groups that a run's primary file lists, as the command line names them, each with its files."""
    return {
        group.removesuffix(f"/{name}"): sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
        + ([] if chosen else ["null"])
        for group, chosen in _groups(name).items()
    }


def _names(name: str) -> list[str]:
    return [option.name for option in options(RUNS[name])]


def _misspelt(key: str, known: list[str]) -> str:
    guess = nearest(key.lstrip("+~"), known)
    return f"Option {key} does not exist; {f'did you mean {guess}?' if guess else 'see --help.'}"


def _composition_sentence(name: str, error: Exception) -> str:
    """Hydra's and OmegaConf's errors in one sentence; what the files in configs/ can cause comes here too."""
    cause = error.__cause__ if error.__cause__ is not None else error
    text = f"{error}\n{cause}" if cause is not error else str(error)
    key = re.search(r"full_key: (\S+)", text)
    file = re.search(r"In '([^']+)'", text)
    where = f"configs/{file[1]}.yaml: " if file else ""
    option = find(RUNS[name], key[1]) if key else None
    if key and option is None and "not in" in text:
        return where + _misspelt(key[1], _names(name))
    if key and option:
        value = re.search(r"[Vv]alue '([^']*)'", text)
        shown = f"={value[1]}" if value else ""
        return f"{where}{key[1]}{shown} is of the wrong kind: wanted {option.wanted}."
    return where + " ".join(str(cause).split("\n", 1)[0].split())


def _parent(tree: Any, key: str) -> tuple[Any, str]:
    *parents, leaf = key.split(".")
    for parent in parents:
        tree = tree[parent]
    return tree, leaf


def _anchor_defaults(cfg: Any, given: set[str], prefix: str = "") -> None:
    """Makes relative paths that nobody gave relative to the project instead of the working directory."""
    if Path.cwd() == ROOT:
        return
    for item in dataclasses.fields(cfg):
        value = getattr(cfg, item.name)
        if dataclasses.is_dataclass(value):
            _anchor_defaults(value, given, f"{prefix}{item.name}.")
        elif isinstance(value, Path) and f"{prefix}{item.name}" not in given:
            setattr(cfg, item.name, ROOT / value)


def _record(cfg: Any) -> None:
    """Writes the resolved config as plain data into the run folder, from the first process."""
    if not hasattr(cfg, "run_dir") or os.environ.get("RANK", "0") != "0":
        return
    import yaml

    from vasa.checkpoint import atomic_path, plain

    with atomic_path(cfg.run_dir / "config.yaml") as temporary:
        temporary.write_text(
            yaml.safe_dump(plain(cfg), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
