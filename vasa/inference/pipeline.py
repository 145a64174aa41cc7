"""A portrait and a waveform in, frames out: the whole of inference in one class.

    face = TalkingFace.from_pretrained("checkpoints/demo")
    for frame in face.generate("me.jpg", waveform, sample_rate):  # uint8 (H, W, 3) RGB at 25 fps
        ...

A generator from end to end: features are made from a few seconds of sound at a time, motion in windows,
frames in small batches, so memory does not grow with the sound. All randomness comes from one seed. Knows no
files of sound or video.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vasa.audio import check_waveform, fit_length, frames_for, resample
from vasa.checkpoint import CheckpointError, content_hash, from_plain
from vasa.device import choose_device, fast_precision
from vasa.face.config import MOTION_ENCODERS
from vasa.face.space import FaceSpace
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.inference.bundle import BUNDLE_FILE, BUNDLE_FORMAT
from vasa.inference.config import BACKGROUNDS
from vasa.inference.controls import Emotion, conditions
from vasa.inference.portrait import read_picture
from vasa.inference.retarget import Retargeter
from vasa.motion.config import MotionConfig
from vasa.motion.windows import MotionGenerator
from vasa.preprocess.align import FaceAligner, FoundFace
from vasa.preprocess.crop import cut
from vasa.preprocess.plate import Backdrop
from vasa.pretrained.config import DetectorConfig, MatteConfig, SpeechConfig
from vasa.pretrained.matte import Matte, build_matte
from vasa.pretrained.speech import SpeechEncoder, build_speech_encoder
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS, Conditions, MotionLayout

log = logging.getLogger(__name__)

FEATURE_CHUNK_S = 20
DRIVEN_AT_ONCE = 32
FEATURE_CONTEXT_S = 1
"""Sound is encoded 20 s at a time with a second of it on either side: whole seconds, so that every rate
divides evenly.
"""


class MotionSource(Protocol):
    """What the pipeline needs of a motion model."""

    @property
    def layout(self) -> MotionLayout: ...

    @property
    def config(self) -> MotionConfig: ...

    def generate(
        self,
        features: Iterator[Tensor],
        conditions: Conditions,
        *,
        generator: torch.Generator,
        num_frames: int,
        steps: int | None,
        guidance: Mapping[str, float] | None,
    ) -> Iterator[Tensor]: ...


@dataclass(slots=True)
class Portrait:
    """A portrait made ready once, for any number of videos. picture: its crop, uint8 (H, H, 3). motion:
    (1, E), its own. backdrop: what frames are laid over; None: they stay as rendered.
    """

    picture: np.ndarray
    found: FoundFace
    appearance: Any
    motion: Tensor
    seconds: float
    backdrop: Backdrop | None = None


@dataclass(slots=True)
class Generation:
    """The frames of one video, made as they are asked for; iterate once. timings: seconds spent so far, by
    part.
    """

    portrait: Portrait
    num_frames: int
    seed: int
    timings: dict[str, float]
    _frames: Iterator[np.ndarray]
    fps: int = field(default=VIDEO_FPS)

    @property
    def size(self) -> int:
        """Height and width of the frames."""
        return self.portrait.picture.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._frames


class TalkingFace:
    """A face space, a motion model and a speech encoder that belong together.

    device: where networks run. checkpoint: what is known of the files, for reports. matte: what tells a
    person from the background; its file is read when a portrait is first prepared for a plate.
    """

    def __init__(
        self,
        face: FaceSpace,
        motion: MotionSource,
        speech: SpeechEncoder,
        aligner: FaceAligner,
        device: torch.device | str = "cpu",
        checkpoint: Mapping[str, Any] | None = None,
        matte: MatteConfig | None = None,
    ) -> None:
        self.face, self.motion, self.speech, self.aligner = face, motion, speech, aligner
        self.device, self.checkpoint = torch.device(device), dict(checkpoint or {})
        self._matte_config = matte or MatteConfig()

    @cached_property
    def matte(self) -> Matte:
        """What tells a person from the background. Raises: FileNotFoundError when its file is missing."""
        return build_matte(self._matte_config, self.device)

    @staticmethod
    def from_pretrained(
        folder: str | Path,
        device: torch.device | str = "auto",
        detector: DetectorConfig | None = None,
        matte: MatteConfig | None = None,
    ) -> TalkingFace:
        """Loads a checkpoint folder made by ``scripts/bundle.py``.

        Raises: FileNotFoundError; CheckpointError when a file is damaged, of another version, or of another
        face space.
        """
        folder = Path(folder)
        card = _read_bundle(folder)
        chosen = choose_device(str(device))
        motion = MotionGenerator.from_pretrained(folder / "motion.safetensors", chosen)
        face_hash = content_hash(folder / "face.safetensors")
        encoders = content_hash(folder / "face.safetensors", MOTION_ENCODERS)
        if motion.face_hash != encoders:
            raise CheckpointError(
                f"motion.safetensors in {folder} belongs to motion encoders {motion.face_hash[:12]}, but "
                f"those of face.safetensors are {encoders[:12]}; "
                "bundle a motion model with the face space whose motion it was trained on."
            )
        face = FaceAutoencoder.from_pretrained(folder / "face.safetensors").to(chosen)
        speech = build_speech_encoder(from_plain(SpeechConfig, motion.audio, "speech encoder"))
        hashes = {"face_sha256": face_hash, "motion_sha256": content_hash(folder / "motion.safetensors")}
        aligner = FaceAligner(detector or DetectorConfig())
        known = {"folder": str(folder), **card, **hashes}
        return TalkingFace(face, motion, speech, aligner, chosen, known, matte)

    @torch.inference_mode()
    def prepare(
        self,
        image: str | Path | Image.Image | np.ndarray,
        size: int = 512,
        allow_centre_crop: bool = False,
        known: FoundFace | None = None,
        keep_expression: float = 1.0,
        background: str = "carried",
    ) -> Portrait:
        """Finds the face and encodes it, once.

        size: largest side of the video in pixels; a smaller face keeps its own. known: where the face is, if
        that need not be searched. keep_expression: share of the portrait's expression that is taken for how
        this face looks at rest and that movement is added to; at 0 movement replaces it. background: carried
        along as the face space renders it, or "plate": the portrait's own, the hole behind the person filled.

        Raises: FileNotFoundError, ValueError (not a picture, no face in it).
        """
        if not 0 <= keep_expression <= 1:
            raise ValueError(f"keep_expression is {keep_expression:g}; wanted 0 to 1.")
        if background not in BACKGROUNDS:
            raise ValueError(f"background is {background!r}; wanted one of {', '.join(BACKGROUNDS)}.")
        if size < self.face.size or size % 2:
            raise ValueError(
                f"size is {size}; wanted an even number of pixels, at least the face space's "
                f"{self.face.size}."
            )
        started = time.perf_counter()
        photo = read_picture(image)
        found = known or self.aligner.find(photo, self.face.size, size, allow_centre_crop)
        picture = cut(photo, found.crop)
        pixels = torch.from_numpy(picture.copy()).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        points = None
        if found.points is not None:
            points = torch.from_numpy(found.crop.to_crop(found.points)).float().to(self.device)[None]
        appearance = self.face.encode(pixels, points, keep_expression)
        motion = self.face.own_motion(appearance)
        backdrop = Backdrop.of(pixels, self.matte) if background == "plate" else None
        return Portrait(picture, found, appearance, motion, time.perf_counter() - started, backdrop)

    def generate(
        self,
        image: str | Path | Image.Image | np.ndarray | Portrait,
        waveform: np.ndarray | Tensor,
        sample_rate: int,
        *,
        gaze_yaw: float = 0.0,
        gaze_pitch: float = 0.0,
        distance: float = 1.0,
        emotion: Emotion = "neutral",
        keep_expression: float = 1.0,
        pose: str = "relative",
        seed: int = 0,
        steps: int | None = None,
        guidance: Mapping[str, float] | None = None,
        size: int = 512,
        batch_frames: int = 8,
        allow_centre_crop: bool = False,
        background: str = "carried",
    ) -> Generation:
        """Makes the portrait speak. Everything is checked, and the portrait encoded, before this returns;
        frames come after.

        waveform: (N,) at ``sample_rate`` Hz, or what else ``audio.check_waveform`` takes. gaze_yaw,
        gaze_pitch: radians, of the eyes relative to the head. distance: 1 keeps the portrait's framing.
        emotion: a name or weights of several. keep_expression, background: see ``prepare``. pose: see
        ``retarget.Retargeter``. steps, guidance: None takes the checkpoint's. batch_frames: frames rendered
        at once; it changes speed and memory, not the video. Result: an iterable of uint8 (H, W, 3) RGB
        frames, 25 a second.

        Raises: ValueError, FileNotFoundError.
        """
        wanted = conditions(gaze_yaw, gaze_pitch, distance, emotion)
        samples = check_waveform(waveform, sample_rate)
        if isinstance(image, Portrait):
            portrait = image
        else:
            portrait = self.prepare(
                image, size, allow_centre_crop, keep_expression=keep_expression, background=background
            )
        retarget = Retargeter(self.face, portrait.motion, pose, distance)
        num_frames = frames_for(len(samples), sample_rate)
        timings = {"portrait_s": portrait.seconds, "motion_s": 0.0, "render_s": 0.0}
        motion = self.motion.generate(
            feature_chunks(self.speech, samples, sample_rate, num_frames),
            wanted,
            generator=torch.Generator().manual_seed(seed),
            num_frames=num_frames,
            steps=steps,
            guidance={**self.motion.config.sampler.guidance.as_dict(), **guidance} if guidance else None,
        )
        frames = self._frames(portrait, motion, retarget, batch_frames, timings)
        return Generation(portrait, num_frames, seed, timings, frames)

    def reenact(
        self, portrait: Portrait, pose: np.ndarray, expression: np.ndarray, batch_frames: int = 8
    ) -> Generation:
        """Moves the portrait as other frames do: absolutely, in their own framing.

        pose, expression: uint8 (T, H, W, 3), square and cut by the crop rule; the head follows the one, the
        face the other, and the shorter one ends the video. Both the same: reenactment. Raises: ValueError.
        """
        num_frames = min(len(pose), len(expression))
        if num_frames < 1 or any(d.shape[1] != d.shape[2] for d in (pose, expression)):
            raise ValueError(
                f"driving frames are {pose.shape} and {expression.shape}; wanted square ones, at least one."
            )

        def motion() -> Iterator[Tensor]:
            dynamics = self.face.layout.dynamics
            for first in range(0, num_frames, DRIVEN_AT_ONCE):
                part = slice(first, min(first + DRIVEN_AT_ONCE, num_frames))
                found = self.face.motion(self._driving(pose[part]))
                if pose is not expression:
                    found[:, dynamics] = self.face.motion(self._driving(expression[part]))[:, dynamics]
                yield found

        timings = {"portrait_s": portrait.seconds, "motion_s": 0.0, "render_s": 0.0}
        frames = self._frames(portrait, motion(), lambda chunk: chunk, batch_frames, timings)
        return Generation(portrait, num_frames, 0, timings, frames)

    def _driving(self, frames: np.ndarray) -> Tensor:
        """uint8 (T, H, H, 3) -> (T, 3, H, H) in [-1, 1] on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).permute(0, 3, 1, 2)
        return pixels.float() / 127.5 - 1

    def _frames(
        self,
        portrait: Portrait,
        motion: Iterator[Tensor],
        retarget: Callable[[Tensor], Tensor],
        batch_frames: int,
        timings: dict[str, float],
    ) -> Iterator[np.ndarray]:
        while True:
            with torch.inference_mode():
                started = time.perf_counter()
                chunk = next(motion, None)
                if chunk is None:
                    return
                chunk = retarget(chunk.to(self.device))
                if not bool(chunk.isfinite().all()):
                    raise FloatingPointError(
                        "the motion model made values that are not finite; no frame is made of them."
                    )
                timings["motion_s"] += time.perf_counter() - started
            for part in chunk.split(batch_frames):
                with torch.inference_mode(), fast_precision(self.device):
                    started = time.perf_counter()
                    images = self.face.render(portrait.appearance, part).float()
                    if portrait.backdrop is not None:
                        images = portrait.backdrop.behind(images)
                    pixels = (
                        ((images + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
                    )
                    frames = pixels.contiguous().cpu().numpy()
                    timings["render_s"] += time.perf_counter() - started
                yield from frames


def feature_chunks(
    encoder: SpeechEncoder, samples: np.ndarray, sample_rate: int, num_frames: int
) -> Iterator[Tensor]:
    """Speech features (t, A) of ``num_frames`` frames at 25 fps, in chunks that agree with the whole.

    The sound is gone through twice: first for its level, which every chunk is brought to.
    """
    chunk, context = FEATURE_CHUNK_S * VIDEO_FPS, FEATURE_CONTEXT_S * VIDEO_FPS

    def sound(first: int, last: int) -> np.ndarray:
        """Frames ``first`` to ``last`` at the encoder's rate; where it ends early, silence follows."""
        begin, end = (round(frame * sample_rate / VIDEO_FPS) for frame in (first, last))
        return fit_length(resample(samples[begin:end], sample_rate), (last - first) * SAMPLES_PER_FRAME)

    starts = range(0, num_frames, chunk)
    reference = encoder.reference(sound(start, min(start + chunk, num_frames)) for start in starts)
    for start in starts:
        stop = min(start + chunk, num_frames)
        first, last = max(start - context, 0), min(stop + context, num_frames)
        yield encoder.features(sound(first, last), last - first, reference)[start - first : stop - first]


def _read_bundle(folder: Path) -> dict[str, Any]:
    """bundle.json of a checkpoint folder, checked."""
    path = folder / BUNDLE_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {str(folder)!r} has no {BUNDLE_FILE}; give a folder made by scripts/bundle.py, "
            "such as checkpoints/demo."
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version = card["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); bundle the checkpoint again.") from error
    if version != BUNDLE_FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, this vasa reads {BUNDLE_FORMAT}; use the version that wrote it."
        )
    return card
