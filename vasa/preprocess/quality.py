"""How good a clip's pictures are, in a few numbers, and the rules that reject some.

All is measured on a few frames, reduced to one size so that numbers compare between sizes of clips. A network
that scores pictures as people would is a plug: a file, read here, that no number below depends on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from vasa.preprocess.config import QualityConfig

LOOKED_AT = 8
"""Frames of a clip, spread evenly."""
_WORK_PX = 128
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class BlindQuality(Protocol):
    """A judge of pictures without a reference. name: what tables call it."""

    name: str

    def score(self, frames: np.ndarray) -> np.ndarray:
        """frames uint8 (N, S, S, 3) -> (N,), the higher the better; the scale is the model's."""
        ...


class OnnxQuality:
    """An ONNX file: float32 (N, 3, H, W) RGB in [0, 1] -> N numbers.

    H and W may be fixed, then frames are brought to them. What a published model does before and after
    (means, crops, scaling) belongs into the file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.name = path.stem
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ValueError(
                f"quality.iqa={path} takes {[i.shape for i in inputs]}; wanted one input (N, 3, H, W)."
            )
        self._input = inputs[0].name
        self._batch, _, *self._size = (n if isinstance(n, int) else None for n in inputs[0].shape)

    def score(self, frames: np.ndarray) -> np.ndarray:
        height, width = (wanted or got for wanted, got in zip(self._size, frames.shape[1:3], strict=True))
        pictures = [cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames]
        batch = np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255
        step = self._batch or len(batch)
        scores = [
            np.ravel(self._session.run(None, {self._input: batch[n : n + step]})[0])
            for n in range(0, len(batch), step)
        ]
        return np.concatenate(scores).astype(np.float64)


IQA_MODELS: dict[str, Callable[[Path], BlindQuality]] = {".onnx": OnnxQuality}
"""How a file of a blind judge is read, by its suffix."""


def build_iqa(path: Path | None) -> BlindQuality | None:
    """The judge in a file. Raises: FileNotFoundError, ValueError where it is none."""
    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"quality.iqa={path} does not exist; give a model's file, or leave it out.")
    if path.suffix not in IQA_MODELS:
        raise ValueError(f"quality.iqa={path} ends in {path.suffix!r}; wanted {', '.join(IQA_MODELS)}.")
    return IQA_MODELS[path.suffix](path)


@dataclass(slots=True)
class Quality:
    """blur: contrast of the finest details, see ``measure``; 0.02 and less is soft. brightness: mean luma in
    [0, 1]. clipped: share of pixels that are black or white. motion: the largest mean difference to the first
    frame, in grey levels; 0 is a still. iqa: the plug's mean score, NaN without one."""

    blur: float
    brightness: float
    clipped: float
    motion: float
    iqa: float


def measure(frames: np.ndarray, iqa: BlindQuality | None = None) -> Quality:
    """frames uint8 (T, S, S, 3) of a clip. Medians over some of them.

    blur is the variance of the Laplacian (Pech-Pacheco et al. 2000) over that of the picture itself, at
    128 px: light and contrast cancel.
    """
    some = frames[np.linspace(0, len(frames) - 1, min(LOOKED_AT, len(frames))).round().astype(int)]
    grey = np.stack(
        [
            cv2.resize(f, (_WORK_PX,) * 2, interpolation=cv2.INTER_AREA).astype(np.float32) @ _LUMA
            for f in some
        ]
    )
    details = np.array([cv2.Laplacian(picture, cv2.CV_32F).var() for picture in grey])
    clipped = ((grey < 4) | (grey > 251)).mean((1, 2))
    return Quality(
        blur=float(np.median(details / (grey.var((1, 2)) + 1.0))),
        brightness=float(np.median(grey.mean((1, 2)))) / 255,
        clipped=float(np.median(clipped)),
        motion=float(np.abs(grey - grey[0]).mean((1, 2)).max()),
        iqa=float(iqa.score(some).mean()) if iqa else float("nan"),
    )


def why_poor(quality: Quality, config: QualityConfig) -> tuple[str, str] | None:
    """(status, sentence) of the first rule that a clip breaks."""
    rules = [
        ("still", quality.motion < _STILL, "all its pictures are the same"),
        (
            "blurred",
            quality.blur < config.min_blur,
            f"its sharpness is {quality.blur:.4f}; wanted at least {config.min_blur}",
        ),
        (
            "dark",
            quality.brightness < config.min_brightness,
            f"its brightness is {quality.brightness:.3f}; wanted at least {config.min_brightness}",
        ),
        (
            "bright",
            0 < config.max_brightness < quality.brightness,
            f"its brightness is {quality.brightness:.3f}; wanted at most {config.max_brightness}",
        ),
        (
            "clipped",
            0 < config.max_clipped < quality.clipped,
            f"{quality.clipped:.0%} of its pixels are black or white; wanted {config.max_clipped:.0%}",
        ),
        (
            "low_iqa",
            bool(config.min_iqa) and not quality.iqa >= config.min_iqa,
            f"its quality is scored {quality.iqa:.3f}; wanted at least {config.min_iqa}",
        ),
    ]
    return next(((status, words) for status, is_broken, words in rules if is_broken), None)


_STILL = 0.05


def why_too_small(side_px: float, size: int, config: QualityConfig) -> tuple[str, str] | None:
    """(status, sentence) where a crop covers too few pixels of the video."""
    if 0 < config.max_enlarge < size / side_px:
        words = (
            f"its crop covers {side_px:.0f} px of the video, enlarged {size / side_px:.2f} times to {size}"
        )
        return "too_small", f"{words}; wanted at most {config.max_enlarge:g} times"
    if side_px < config.min_side_px:
        words = f"its crop covers {side_px:.0f} px of the video; wanted at least {config.min_side_px:.0f}"
        return "too_small", words
    return None


def pose_range(angle: np.ndarray) -> float:
    """Degrees between the extremes of an angle (T,) in radians, but for 2 % of the frames at each end."""
    low, high = np.quantile(np.degrees(np.asarray(angle, np.float64)), [0.02, 0.98])
    return float(high - low)


def why_turned(yaw_range: float, pitch_range: float, config: QualityConfig) -> tuple[str, str] | None:
    """(status, sentence) where a head turns farther than wanted. Ranges in degrees, of ``pose_range``."""
    for name, got, most in (
        ("yaw", yaw_range, config.max_yaw_range),
        ("pitch", pitch_range, config.max_pitch_range),
    ):
        if 0 < most < got:
            return "turned", f"its {name} ranges over {got:.0f} degrees; wanted at most {most:g}"
    return None
