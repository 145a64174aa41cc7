"""Options of what is estimated in clips' frames, and of the offset between sound and video. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasa.data.config import check_split
from vasa.pretrained.config import STANDIN

NONE = "none"
MOST_SHIFT = 15
"""Frames of sound that are kept on both sides of a clip, by which it may be moved."""


@dataclass(kw_only=True, slots=True)
class SignalsConfig:
    """What estimates the signals of each frame.

    Each estimator is a file, or ``standin`` for this project's own network, or null for the published file
    where its publisher's tools keep it (``scripts/weights.py`` says where). Head pose goes with the
    landmarks; blinks are read by our own network in any case.
    """

    landmarks: str | None = STANDIN  # FAN (3DFAN4-7835d9f11d.pth.tar)
    gaze: str | None = STANDIN  # L2CS-Net (L2CSNet_gaze360.pkl)
    emotion: str | None = STANDIN  # HSEmotion (enet_b0_8_best_afew.onnx)
    # ArcFace (w600k_r50.onnx); standin: teacher_identity, which scripts/train_judges.py makes; none: not told
    identity: str | None = NONE
    # landmarks and pose, and all that published networks tell, are looked at in every so-many-th frame, with
    # straight lines between; our own are no worse for 2 (docs/data.md)
    stride: int = 2
    judges: Path = Path("checkpoints/judges")  # folder of this project's own networks

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= 5:
            raise ValueError(f"signals.stride is {self.stride}; wanted 1 (every frame) to 5.")
        for name in ("landmarks", "gaze", "emotion"):
            if getattr(self, name) == NONE:
                raise ValueError(f"signals.{name}=none: every clip has one; wanted a file, standin or null.")


@dataclass(kw_only=True, slots=True)
class SyncOffsetConfig:
    """By how many frames sound is early or late, by the published SyncNet."""

    weights: Path | None = None  # syncnet_v2.model; None: not measured
    max_shift: int = 15  # frames either way that are tried
    # S_C from which the offset is believed, and applied to the sound; LatentSync drops clips below 3
    min_confidence: float = 3.0
    batch_size: int = 20  # windows at once; changes memory and nothing else

    def __post_init__(self) -> None:
        if not 1 <= self.max_shift <= MOST_SHIFT or self.batch_size < 1 or self.min_confidence < 0:
            raise ValueError(
                f"sync.max_shift is {self.max_shift}, batch_size {self.batch_size}, min_confidence "
                f"{self.min_confidence}; wanted 1 to {MOST_SHIFT} frames, at least 1 and at least 0."
            )


@dataclass(kw_only=True, slots=True)
class CheckSignalsRun:
    """Compares what estimators say of rendered clips with the truth they were rendered from."""

    signals: SignalsConfig = field(default_factory=SignalsConfig)
    split: str = "test"  # whose people speak; no network of ours saw them
    people: int = 24  # in each mode of rendering, a clip each
    seconds: float = 1.0
    size: int = 256  # px of the frames
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.people < 2 or self.seconds < 0.2 or self.threads < 1 or self.size % 2:
            raise ValueError(
                f"people is {self.people}, seconds {self.seconds}, size {self.size}, threads {self.threads}; "
                "wanted at least 2, at least 0.2, an even number and at least 1."
            )
