"""The frozen networks that tell signals from frames: which file serves each, and one sentence on what is
missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vasa.preprocess.identity import Embed, embed_by
from vasa.preprocess.signals_config import NONE, SignalsConfig
from vasa.pretrained.config import STANDIN
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.fan import FanNet
from vasa.pretrained.hsemotion import HSEmotion
from vasa.pretrained.l2cs import L2CSNet
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.registry import NETWORKS
from vasa.pretrained.store import check, place_of
from vasa.pretrained.third_party import file_hash

PUBLISHED = {
    "landmarks": "fan_3d",
    "gaze": "l2cs_gaze360",
    "emotion": "hsemotion",
    "identity": "arcface_w600k_r50",
}
OURS = {
    "landmarks": "landmarks",
    "gaze": "teacher_expression",
    "emotion": "teacher_emotion",
    "identity": "teacher_identity",
}
"""Names in the registry of what serves each option."""
ALWAYS = ("landmarks", "teacher_expression")
"""Ours that are read in any case: one places the crops of all others, the other tells blinks."""


@dataclass(slots=True)
class Estimators:
    """aligner and expression: ours. fan, gaze: None where ours serve. identity: None where none is wanted.

    used: name in the registry -> SHA-256 of the file, of all that is read.
    """

    aligner: LandmarkNet
    expression: ExpressionNet
    emotion: EmotionNet | HSEmotion
    fan: FanNet | None
    gaze: L2CSNet | None
    identity: Embed | None
    used: dict[str, str]


def build_estimators(config: SignalsConfig, device: torch.device | str = "cpu") -> Estimators:
    """Reads all networks of a config.

    Raises: FileNotFoundError in one sentence on all that is missing; CheckpointError or ValueError where a
    file is another one.
    """
    chosen = {option: _chosen(config, option) for option in PUBLISHED if getattr(config, option) != NONE}
    files = {name: _place(name, config.judges) for name in ALWAYS} | dict(chosen.values())
    missing = {name: path for name, path in files.items() if not path.is_file()}
    if missing:
        raise FileNotFoundError(_cure(missing))
    for path in files.values():
        check(path)
    theirs = {option: path for option, (name, path) in chosen.items() if not NETWORKS[name].is_ours}
    return Estimators(
        LandmarkNet.from_pretrained(files["landmarks"]).to(device),
        ExpressionNet.from_pretrained(files["teacher_expression"]).to(device),
        HSEmotion(theirs["emotion"])
        if "emotion" in theirs
        else EmotionNet.from_pretrained(files["teacher_emotion"]).to(device),
        FanNet.from_published(theirs["landmarks"]).to(device) if "landmarks" in theirs else None,
        L2CSNet.from_published(theirs["gaze"]).to(device) if "gaze" in theirs else None,
        embed_by(chosen["identity"][1], device) if "identity" in chosen else None,
        {name: file_hash(path) for name, path in sorted(files.items())},
    )


def _chosen(config: SignalsConfig, option: str) -> tuple[str, Path]:
    """Name in the registry of what serves an option, and its file; only ours are safetensors."""
    given = getattr(config, option)
    if given == STANDIN or (given or "").endswith(".safetensors"):
        name = OURS[option]
    else:
        name = PUBLISHED[option]
    return name, _place(name, config.judges) if given in (None, STANDIN) else Path(given).expanduser()


def _place(name: str, judges: Path) -> Path:
    path = place_of(NETWORKS[name], judges)
    assert path is not None, "every estimator has a usual place"
    return path


def _cure(missing: dict[str, Path]) -> str:
    """What is missing, how it comes there, how to go without."""
    cures = []
    for name in missing:
        network = NETWORKS[name]
        if network.is_ours:
            cures.append(f"`python scripts/train_judges.py only=[{name}]` makes {network.file}")
        else:
            cures.append(f"get {network.file} from {network.source}, or {network.instead} does without it")
    said = ", ".join(str(path) for path in missing.values())
    return f"{said} {'is' if len(missing) == 1 else 'are'} missing; {'; '.join(cures)}."
