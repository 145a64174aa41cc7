"""Lip sync by SyncNet: S_D and S_C, the offset, and two named ways of getting from a video to them.

The two protocols are the two entry points of the published code and give different numbers for the same
video: ``demo`` takes a video that already is a face crop of 224 px, ``pipeline`` tracks the face of any video
and cuts the crop itself. The scores are exactly the published ones; a clip that has none says why
(``Unscored``) instead of leaving the mean.

Differences from the published code, all outside the network and the scores: frames come from the decoder and
are not encoded as JPEG and XVID in between; sound and video that are not equally long are cut to the shorter,
as there, but by how much is a column.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vasa.checkpoint import plain
from vasa.metrics.config import SyncMetricConfig
from vasa.metrics.face_tracks import (
    FindFaces,
    one_track,
    track_crops,
)
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.pretrained.mfcc import to_int16
from vasa.pretrained.sync_crops import resized
from vasa.pretrained.sync_scores import SyncScores, sync_scores
from vasa.pretrained.syncnet import CROP_PX, WINDOW_FRAMES, SyncNet
from vasa.records import SAMPLES_PER_FRAME


def sync_clip(
    network: SyncNet, crops: np.ndarray, wave: np.ndarray, max_shift: int, batch_size: int = 20
) -> SyncScores:
    """Scores of face crops (T, 224, 224, 3) uint8 RGB and their sound (N,) int16 at 16 kHz, cut to the
    shorter.

    The last full window is left out, as published. batch_size changes memory and nothing else. Raises:
    Unscored where both are not longer than one window.
    """
    count = num_windows(len(crops), len(wave))
    if count < 1:
        raise Unscored(
            f"too short: {count + WINDOW_FRAMES} frames with sound, wanted more than {WINDOW_FRAMES}"
        )
    lips = network.embed_lips(crops[: count + WINDOW_FRAMES - 1], batch_size)
    sound = network.embed_sound(wave[: (count + WINDOW_FRAMES) * SAMPLES_PER_FRAME], batch_size)
    return sync_scores(lips, sound, max_shift)


def num_windows(num_frames: int, num_samples: int) -> int:
    """Windows that are scored of so many frames and samples; below 1 where they are too short."""
    return min(num_frames, num_samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES


class SyncMetric:
    """S_C, S_D and offset of one clip, by one protocol.

    find_faces: where faces are, for the protocol ``pipeline``. origin: what the weights are and what their
    scores may be compared with. weights_hash: of the file.
    """

    name = "sync"

    def __init__(
        self,
        network: SyncNet,
        config: SyncMetricConfig,
        find_faces: FindFaces | None,
        *,
        origin: str,
        weights_hash: str,
        finder: str = "",
    ) -> None:
        if config.protocol == "pipeline" and find_faces is None:
            raise ValueError("find_faces is None; wanted a way to find faces for sync.protocol=pipeline.")
        self.network, self.config, self.find_faces = network, config, find_faces
        self._origin, self._weights_hash, self._finder = origin, weights_hash, finder

    @property
    def identity(self) -> dict[str, Any]:
        """All that a score depends on. The batch size is not among it."""
        options = {k: v for k, v in plain(self.config).items() if k not in ("weights", "batch_size")}
        return {"weights": self._weights_hash, "finder": self._finder, **options}

    @property
    def label(self) -> str:
        c = self.config
        how = "face crops of 224 px as given"
        if c.protocol == "pipeline":
            how = f"faces by {self._finder}, over {c.min_track} frames and {c.min_face_px:.0f} px"
        length = f"the first {c.num_frames} frames" if c.num_frames else "whole clips"
        return f"SyncNet, {self._origin}; protocol {c.protocol}: {how}; shifts of {c.max_shift}; {length}"

    def measure(self, clip: EvalClip) -> dict[str, float]:
        """s_c, s_d, offset in frames, num_windows, and by how many frames the sound is longer than the video.

        Raises: Unscored for no sound, no face, several faces, too short, too small, or not a face crop.
        """
        if clip.audio is None:
            raise Unscored("no sound")
        crops, wave = self._crops(clip)
        count = self.config.num_frames
        if count and min(len(crops), len(wave) // SAMPLES_PER_FRAME) < count:
            raise Unscored(f"too short: wanted {count} frames with a face and sound")
        longer = len(clip.audio) / SAMPLES_PER_FRAME - len(clip.frames)
        if count:
            crops, wave = crops[:count], wave[: count * SAMPLES_PER_FRAME]
        scores = sync_clip(self.network, crops, wave, self.config.max_shift, self.config.batch_size)
        return {
            "s_c": scores.s_c,
            "s_d": scores.s_d,
            "offset": float(scores.offset),
            "num_windows": float(len(scores.table)),
            "sound_longer_frames": longer,
        }

    def _crops(self, clip: EvalClip) -> tuple[np.ndarray, np.ndarray]:
        """Face crops (T, 224, 224, 3) and their sound (N,) int16."""
        assert clip.audio is not None
        wave = to_int16(clip.audio)
        if self.config.protocol == "demo":
            return self._given(clip.frames), wave
        assert self.find_faces is not None
        track = one_track(clip.frames, self.find_faces, self.config.min_track, self.config.min_face_px)
        first, last = track.first, track.first + len(track)
        return track_crops(clip.frames, track), wave[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]

    def _given(self, frames: np.ndarray) -> np.ndarray:
        height, width = frames.shape[1:3]
        if height == width == CROP_PX:
            return frames
        if height != width or not self.config.resize:
            cure = "" if height != width else "; sync.resize=true scales it"
            raise Unscored(f"not a face crop: {width}x{height}, wanted {CROP_PX}x{CROP_PX}{cure}")
        return np.stack([resized(frame) for frame in frames])
