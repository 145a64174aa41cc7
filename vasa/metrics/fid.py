"""FID: the Fréchet distance of two sets of single frames in an image network's features (Heusel et al. 2017).

The published network is FID's Inception (pretrained/inception.py, weights from a local file). Where it is
missing, the small video network that this project trained stands in, shown frames that stand still; then the
column is called ``fid_standin``, for its scale is another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vasa.metrics.frechet import compare_sets
from vasa.metrics.fvd import StandInFeatures
from vasa.metrics.protocol import EvalClip
from vasa.pretrained.inception import FidInception
from vasa.pretrained.third_party import file_hash


class FrameFeatures(Protocol):
    """A network's features of frames. column: what the distance is called."""

    column: str

    @property
    def identity(self) -> dict[str, Any]: ...

    @property
    def label(self) -> str: ...

    def __call__(self, frames: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) RGB -> features (n, D), float32 on the CPU."""
        ...


class InceptionFeatures:
    """The features that FID is defined by: 2048 numbers behind the last pooling."""

    column = "fid"

    def __init__(self, path: str | Path, device: torch.device | str = "cpu", batch_size: int = 16) -> None:
        self.network, self.device, self.batch_size = FidInception(path).to(device), device, batch_size
        self._sha256 = file_hash(path)

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": "inception_fid", "sha256": self._sha256}

    @property
    def label(self) -> str:
        return "FID by its Inception (published weights)"

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1)
        return torch.cat([self.network(part.to(self.device)).cpu() for part in images.split(self.batch_size)])


class StandInFrames:
    """The small video network, shown one frame at a time."""

    column = "fid_standin"

    def __init__(self, video: StandInFeatures) -> None:
        self.video = video

    @property
    def identity(self) -> dict[str, Any]:
        return {**self.video.identity, "frames": "single"}

    @property
    def label(self) -> str:
        return f"Fréchet distance of frames by {self.video.label}"

    def __call__(self, frames: np.ndarray) -> Tensor:
        return self.video(frames[:, None])


class FidMetric:
    """FID of two sets of clips' frames, a SetMetric (protocol.py).

    frames_per_clip: so many of each clip, evenly spread. min_frames: no number below this many in either set.
    seed: of the halves of the real set.
    """

    name = "fid"

    def __init__(
        self, network: FrameFeatures, frames_per_clip: int = 16, min_frames: int = 2048, seed: int = 0
    ) -> None:
        self.network, self.frames_per_clip = network, frames_per_clip
        self.min_frames, self.seed = min_frames, seed

    @property
    def identity(self) -> dict[str, Any]:
        options = {"frames_per_clip": self.frames_per_clip, "min_frames": self.min_frames, "seed": self.seed}
        return {**self.network.identity, **options}

    @property
    def label(self) -> str:
        return (
            f"{self.network.label}, {self.frames_per_clip} frames of each clip; floor: halves of the real "
            f"set; no number: too few, below {self.min_frames} frames"
        )

    def features(self, clip: EvalClip) -> Tensor:
        """Features (n, D) of frames spread over a clip; of all where it has fewer."""
        count = min(self.frames_per_clip, len(clip.frames))
        chosen = np.linspace(0, len(clip.frames) - 1, count).round().astype(int)
        return self.network(clip.frames[chosen])

    def score(self, made: list[Tensor], real: list[Tensor]) -> dict[str, float]:
        """The distance, its floor on the real set, and both counts of frames."""
        return compare_sets(self.network.column, made, real, self.min_frames, self.seed)
