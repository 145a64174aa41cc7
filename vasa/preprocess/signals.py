"""What the frames of one cut clip show, each: head pose, landmarks, gaze, distance, emotion, blinks.

The clip is framed by the crop rule (crop.py), and signs and units are those of records.py. Nothing is
smoothed; but landmarks and pose are looked at in every ``stride``-th frame, with a straight line between, and
our own emotion is read from two seconds around a frame, because a single talking frame hardly shows one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.data.synthetic.dynamics import main_direction
from vasa.preprocess.estimators import Estimators, build_estimators
from vasa.preprocess.identity import ClipIdentity, clip_identity
from vasa.preprocess.signals_config import SignalsConfig
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.head_pose import pose_from_landmarks
from vasa.pretrained.hsemotion import HSEmotion
from vasa.records import CONTROL_INDEX, VIDEO_FPS

CHUNK = 32
"""Frames looked at together."""
EMOTION_FRAMES = VIDEO_FPS
"""To either side, of which the emotion of a frame is read where our own network reads it."""
GAZE_BIN_RAD = 0.05
"""Side of the cells of the histogram that the main gaze is found in: 2.9 degrees. VASA-1 gives none."""
CLOSED = 0.5
"""Mean closure of the lids from which on a frame's gaze is not seen, and does not count for the main one."""
_LIDS = [CONTROL_INDEX["blink_left"], CONTROL_INDEX["blink_right"]]


@dataclass(slots=True)
class ClipSignals:
    """Signals of T frames: pose (T, 6), landmarks (T, 68, 2), gaze (T, 2), emotion (T, 8), blink (T, 2: the
    viewer's left, then right; 0 open, 1 closed). identity: None where none is estimated.

    Gaze and blinks come for every frame; where lids are closed the gaze is a guess.
    """

    pose: Tensor
    landmarks: Tensor
    gaze: Tensor
    emotion: Tensor
    blink: Tensor
    identity: ClipIdentity | None = None

    @property
    def distance(self) -> Tensor:
        """d = 1 / s, (T, 1)."""
        return self.pose[:, 5:].neg().exp()

    @property
    def main_gaze(self) -> Tensor:
        """Where the clip looks most of the time, (2,): see ``main_gaze``."""
        return main_gaze(self.gaze, self.blink)

    @property
    def mean_distance(self) -> Tensor:
        return self.distance.mean()

    @property
    def mean_emotion(self) -> Tensor:
        return self.emotion.mean(0)

    def tensors(self) -> dict[str, Tensor]:
        """As a shard stores them: half precision, but the pose; identity (E,) where there is one."""
        halves = {n: getattr(self, n).half() for n in ("landmarks", "gaze", "distance", "emotion", "blink")}
        who = {} if self.identity is None else {"identity": self.identity.embedding.half()}
        return {"pose": self.pose.float(), **halves, **who}


def main_gaze(gaze: Tensor, blink: Tensor) -> Tensor:
    """The main direction (2,) of gaze (T, 2), of the frames whose eyes are open by blink (T, 2); else of all.

    VASA-1, section 3.2, clusters by a histogram and says no more. Ours: cells of GAZE_BIN_RAD in yaw and
    pitch; of the 3 x 3 cells that hold most frames, the mean of their frames. Unlike a mean it is no place
    between two at which nobody looked.
    """
    seen = gaze[blink.mean(1) < CLOSED]
    track = (seen if len(seen) else gaze).double().numpy()
    return torch.from_numpy(main_direction(track, GAZE_BIN_RAD)).float()


class SignalEstimator:
    """``estimator(frames)`` -> signals of one clip. used: what tells them, name -> SHA-256."""

    def __init__(self, config: SignalsConfig, device: torch.device | str = "cpu") -> None:
        """Raises: as build_estimators."""
        self.config, self.device = config, device
        self.networks: Estimators = build_estimators(config, device)

    @property
    def used(self) -> dict[str, str]:
        return self.networks.used

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> ClipSignals:
        """frames uint8 (T, S, S, 3) RGB, framed by the crop rule. Raises: ValueError for anything else."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (frames.shape[1],) * 2 + (3,):
            raise ValueError(f"frames are {frames.dtype} {frames.shape}; wanted uint8 (T, S, S, 3).")
        if not len(frames):
            raise ValueError("frames are none; wanted at least one.")
        small = self._small(frames)
        at = looked_at(len(frames), self.config.stride)
        points, pose = self._points(frames, small, at)
        landmarks, poses = between(points, at, len(frames)), between(pose, at, len(frames))
        controls = self._read(small, landmarks)
        gaze = self._gaze(frames, at, points, pose)
        identity = self.networks.identity
        return ClipSignals(
            poses,
            landmarks,
            controls[:, :2] if gaze is None else gaze,
            self._emotion(frames, at, points, controls),
            controls[:, _LIDS],
            None if identity is None else clip_identity(identity, frames, landmarks),
        )

    def _small(self, frames: np.ndarray) -> Tensor:
        """Frames as our own networks saw them in training, uint8 (T, 3, 128, 128).

        The region crops of eyes and mouth are not sharper at a larger size: they learned from this one.
        """
        size = self.networks.aligner.config.size
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
        if pixels.shape[-1] == size:
            return pixels
        return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)

    def _points(self, frames: np.ndarray, small: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (A, 68, 2) and poses (A, 6) of the frames that are looked at."""
        looks = [self.networks.aligner(self._images(small[rows])) for rows in at.split(CHUNK)]
        points = torch.cat([look.landmarks.cpu() for look in looks])
        fan = self.networks.fan
        if fan is None:
            return points, torch.cat([look.pose.cpu() for look in looks])
        points = self._look(frames, at, points, fan.landmarks)
        return points, pose_from_landmarks(points)

    def _read(self, small: Tensor, landmarks: Tensor) -> Tensor:
        """The controls (T, 11) of every frame, by our own network: blinks are shorter than a stride."""
        parts = zip(small.split(CHUNK), landmarks.split(CHUNK), strict=True)
        read = [self.networks.expression(self._images(p), q.to(self.device)).cpu() for p, q in parts]
        return torch.cat(read)

    def _gaze(self, frames: np.ndarray, at: Tensor, points: Tensor, pose: Tensor) -> Tensor | None:
        network = self.networks.gaze
        if network is None:
            return None
        return between(self._look(frames, at, points, network.gaze, pose), at, len(frames))

    def _emotion(self, frames: np.ndarray, at: Tensor, points: Tensor, controls: Tensor) -> Tensor:
        """Weights (T, 8)."""
        network = self.networks.emotion
        if isinstance(network, HSEmotion):
            return between(self._look(frames, at, points, network.emotion), at, len(frames))
        assert isinstance(network, EmotionNet)
        return network(windowed_mean(controls, EMOTION_FRAMES).to(self.device)).cpu()

    def _look(
        self, frames: np.ndarray, at: Tensor, points: Tensor, see: Callable[..., Tensor], *beside: Tensor
    ) -> Tensor:
        """What a network sees in the frames that are looked at, given their landmarks, in full size."""
        seen = []
        for rows in torch.arange(len(at)).split(CHUNK):
            pixels = torch.from_numpy(frames[at[rows].numpy()]).permute(0, 3, 1, 2)
            given = [tensor[rows].to(self.device) for tensor in (points, *beside)]
            seen.append(see(self._images(pixels), *given).cpu())
        return torch.cat(seen)

    def _images(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.device).float() / 127.5 - 1


def looked_at(num_frames: int, stride: int) -> Tensor:
    """Numbers of the frames that are looked at: every ``stride``-th, and the last."""
    return torch.tensor(sorted({*range(0, num_frames, stride), num_frames - 1}))


def between(values: Tensor, at: Tensor, num_frames: int) -> Tensor:
    """values (A, ...) of frames at (A,) -> (T, ...), with straight lines between them."""
    if len(at) == num_frames:
        return values
    places = torch.arange(num_frames)
    after = torch.searchsorted(at, places).clamp(min=1)
    start, end = at[after - 1], at[after]
    share = ((places - start) / (end - start)).view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values[after - 1], values[after], share.to(values))


def windowed_mean(values: Tensor, reach: int) -> Tensor:
    """Means (T, C) of values (T, C) over the frames at most ``reach`` away; fewer at both ends."""
    total = F.pad(values.double().cumsum(0), (0, 0, 1, 0))
    places = torch.arange(len(values))
    low, high = (places - reach).clamp(min=0), (places + reach + 1).clamp(max=len(values))
    return ((total[high] - total[low]) / (high - low)[:, None]).to(values)
