"""By how many frames a clip's sound is early or late, and how surely: SyncNet on the cut frames.

Convention: an offset is in video frames of 40 ms and says by how much the sound must be DELAYED; > 0 where
sound comes too early. The sound of frame t is what was recorded under frame t - offset. Applying it is the
caller's, who has the sound around the clip.

Only the published SyncNet measures here: our own stand-in is a judge of generated videos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasa.preprocess.signals_config import SyncOffsetConfig
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.mfcc import to_int16
from vasa.pretrained.registry import NETWORKS
from vasa.pretrained.store import check
from vasa.pretrained.sync_crops import box_crops
from vasa.pretrained.sync_scores import sync_scores
from vasa.pretrained.syncnet import WINDOW_FRAMES, SyncNet
from vasa.pretrained.third_party import file_hash
from vasa.records import SAMPLES_PER_FRAME


@dataclass(slots=True)
class SyncOffset:
    """frames: the offset. confidence: S_C. distance: S_D. believed: whether the confidence suffices."""

    frames: int
    confidence: float
    distance: float
    believed: bool


class OffsetMeter:
    """``meter(frames, landmarks, sound)`` -> the clip's offset."""

    def __init__(self, network: SyncNet, config: SyncOffsetConfig) -> None:
        self.network, self.config = network, config

    def __call__(self, frames: np.ndarray, landmarks: Tensor, sound: np.ndarray) -> SyncOffset | None:
        """frames uint8 (T, S, S, 3), their landmarks (T, 68, 2), sound float32 (N,) from frame 0 on.

        None where frames with sound are not longer than twice the largest shift: there it would be a guess.
        """
        length = min(len(frames), len(sound) // SAMPLES_PER_FRAME)
        count = length - WINDOW_FRAMES  # the last whole window is left out, as published
        if count <= 2 * self.config.max_shift:
            return None
        wave = to_int16(sound[: length * SAMPLES_PER_FRAME])
        crops = sync_crops(frames[: count + WINDOW_FRAMES - 1], landmarks[: count + WINDOW_FRAMES - 1])
        lips = self.network.embed_lips(crops, self.config.batch_size)
        heard = self.network.embed_sound(wave, self.config.batch_size)[: len(lips)]
        scores = sync_scores(lips, heard, self.config.max_shift)
        believed = scores.s_c >= self.config.min_confidence
        return SyncOffset(scores.offset, scores.s_c, scores.s_d, believed)


def build_meter(
    config: SyncOffsetConfig, device: torch.device | str = "cpu"
) -> tuple[OffsetMeter, str] | tuple[None, str]:
    """The meter and the SHA-256 of its weights, or nothing where ``sync.weights`` names none.

    Raises: FileNotFoundError saying what to get; CheckpointError for another file.
    """
    if config.weights is None:
        return None, ""
    path, known = config.weights.expanduser(), NETWORKS["syncnet_v2"]
    if not path.is_file():
        raise FileNotFoundError(
            f"sync.weights={str(config.weights)!r} does not exist; get {known.file} ({known.source}), or "
            "leave it out, and offsets are not measured."
        )
    check(path)
    return OffsetMeter(SyncNet.from_published(path).to(device), config), file_hash(path)


def sync_crops(frames: np.ndarray, landmarks: Tensor) -> np.ndarray:
    """Crops (T, 224, 224, 3) as SyncNet was trained on, from frames (T, S, S, 3) and landmarks (T, 68, 2)."""
    boxes = (face_boxes(landmarks).double().numpy() + 1) * (frames.shape[1] / 2)
    return box_crops(frames, boxes)
