"""Reenactment against the true video: PSNR, SSIM and LPIPS of each frame, whole and inside the face's box.

A made frame is compared with the true frame of the same moment, at the true video's size. SSIM is Wang et
al.'s (2004: Gaussian window of 1.5 px, mean over colours), LPIPS the published one with AlexNet; without a
file of its weights it is left out, and the label says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.checkpoint import content_hash
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.video import RANGE, box_mask, psnr
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.perceptual import load_lpips
from vasa.pretrained.registry import path_of
from vasa.pretrained.third_party import file_hash

MAX_LENGTH_GAP = 2
"""Frames by which a video may be shorter or longer than its reference: codecs lose or add one at an end."""
MAX_ASPECT_GAP = 0.02
"""Share by which its proportions may differ from its reference's: sizes are rounded to even numbers."""
MIN_SIZE = 32
"""px of the smaller side; LPIPS' last convolutions need as much."""
CHUNK = 16
"""Frames compared together."""


class FaceFinder(Protocol):
    """Where the face is: the foreground."""

    @property
    def identity(self) -> dict[str, Any]: ...

    def __call__(self, frames: np.ndarray) -> Tensor:
        """uint8 (T, H, W, 3) -> boxes (T, 4), (u0, v0, u1, v1) in image coordinates. Raises: Unscored."""
        ...


class LandmarkBoxes:
    """A FaceFinder: boxes with the forehead around the points that the aligner finds."""

    def __init__(self, network: LandmarkNet, sha256: str, min_confidence: float = 0.3) -> None:
        self.network, self.sha256, self.min_confidence = network, sha256, min_confidence

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu") -> LandmarkBoxes:
        """Reads `landmarks` of a folder. Raises: FileNotFoundError, CheckpointError."""
        path = path_of("landmarks", folder)
        return cls(LandmarkNet.from_pretrained(path).to(device), content_hash(path))

    @property
    def identity(self) -> dict[str, Any]:
        return {"boxes": "landmarks", "sha256": self.sha256, "min_confidence": self.min_confidence}

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> Tensor:
        """Looks at the centre square. Raises: Unscored when most frames show no face there."""
        device = next(self.network.parameters()).device
        height, width = frames.shape[1:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = to_images(frames[:, top : top + side, left : left + side])
        seen = [self.network.predict(images.to(device)) for images in square.split(CHUNK)]
        if float(torch.cat([s.confidence for s in seen]).median()) < self.min_confidence:
            raise Unscored("no face in the reference")
        boxes = torch.cat([face_boxes(s.landmarks) for s in seen]).cpu()
        return boxes * torch.tensor([side / width, side / height] * 2)  # the centres agree to half a pixel


class PictureMetric:
    """PSNR (dB, at most 80), SSIM and LPIPS of a clip against its reference: means over its frames.

    A ClipMetric (protocol.py). faces: finds the foreground in the reference, for the columns that end in
    _face; None: whole frames alone. alexnet: the file that LPIPS needs; None: no LPIPS.
    """

    name = "picture"

    def __init__(
        self,
        faces: FaceFinder | None = None,
        alexnet: str | Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.faces, self.device = faces, device
        self._lpips = None if alexnet is None else load_lpips(alexnet).to(device)
        self._sha256 = None if alexnet is None else file_hash(alexnet)

    @property
    def identity(self) -> dict[str, Any]:
        return {"lpips": self._sha256, "faces": None if self.faces is None else self.faces.identity}

    @property
    def label(self) -> str:
        lpips = "no LPIPS: no file of AlexNet's weights" if self._lpips is None else "LPIPS v0.1, AlexNet"
        return f"against the true frame of the same moment; {lpips}"

    @torch.inference_mode()
    def measure(self, clip: EvalClip) -> dict[str, float]:
        """psnr, ssim, lpips, and the same ending in _face. Raises: Unscored without a fitting reference."""
        if clip.reference is None:
            raise Unscored("no reference")
        made, true = comparable(clip.frames, clip.reference)
        boxes = None if self.faces is None else self.faces(true)
        sums: dict[str, float] = {}
        for start in range(0, len(true), CHUNK):
            part = slice(start, start + CHUNK)
            reference = to_images(true[part]).to(self.device)
            images = resized(to_images(made[part]).to(self.device), reference.shape[-2:])
            face = None if boxes is None else boxes[part].to(self.device)
            for column, values in self._compare(images, reference, face).items():
                sums[column] = sums.get(column, 0.0) + float(values.double().sum())
        return {column: total / len(true) for column, total in sums.items()}

    def _compare(self, made: Tensor, true: Tensor, boxes: Tensor | None) -> dict[str, Tensor]:
        """Values (B,) by column of frames (B, 3, H, W) in [-1, 1]."""
        maps = ssim_map(made, true)
        values = {"psnr": psnr(made, true), "ssim": maps.mean((1, 2, 3))}
        if self._lpips is not None:
            values["lpips"] = self._lpips(made, true).view(-1)
        if boxes is None:
            return values
        mask = box_mask(boxes, *made.shape[-2:])
        values |= {"psnr_face": psnr(made, true, boxes), "ssim_face": _inside(maps, mask)}
        if self._lpips is not None:
            self._lpips.spatial = True
            values["lpips_face"] = _inside(self._lpips(made, true), mask)
            self._lpips.spatial = False
        return values


def comparable(made: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both videos, uint8 (T, H, W, 3), cut to the shorter's length.

    Raises: Unscored when lengths or proportions differ by more than files do, or the reference is tiny.
    """
    if abs(len(made) - len(true)) > MAX_LENGTH_GAP:
        raise Unscored(f"{len(made)} frames against {len(true)} of the reference")
    aspect = (made.shape[2] / made.shape[1]) / (true.shape[2] / true.shape[1])
    if abs(aspect - 1) > MAX_ASPECT_GAP:
        raise Unscored("other proportions than the reference")
    length = min(len(made), len(true))
    if length < 1 or min(true.shape[1:3]) < MIN_SIZE:
        raise Unscored(f"the reference has {length} frames of {true.shape[2]}x{true.shape[1]}")
    return made[:length], true[:length]


def to_images(frames: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) -> (T, 3, H, W) in [-1, 1]. Raises: ValueError for another type or shape."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}; wanted uint8 (T, H, W, 3) RGB.")
    return torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1).float() / 127.5 - 1


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """images (B, 3, H, W) at another (height, width), without aliasing."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=False, antialias=True)


def ssim_map(made: Tensor, true: Tensor) -> Tensor:
    """SSIM at every pixel of frames (B, 3, H, W) in [-1, 1]: (B, 3, H, W). Edges are mirrored."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    _, full = ssim(made, true, data_range=RANGE, reduction="none", return_full_image=True)
    return full


def _inside(maps: Tensor, mask: Tensor) -> Tensor:
    """Mean of maps (B, C, H, W) over the pixels of mask (B, 1, H, W): (B,)."""
    return (maps.mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
