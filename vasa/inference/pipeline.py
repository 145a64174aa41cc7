"""A portrait and a waveform in, frames out: the whole of inference in one class.

    face = TalkingFace.from_pretrained("checkpoints/demo")
    for frame in face.generate("me.jpg", waveform, sample_rate):  # uint8 (H, W, 3) RGB at 25 fps
        ...

A generator from end to end: features are made from a few seconds of sound at a time, motion in windows,
frames in small batches, so memory does not grow with the sound. All randomness comes from one seed. Knows no
files of sound or video.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vasa.audio import check_waveform, frames_for, resample
from vasa.device import choose_device
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.space import KeypointFace
from vasa.face.space import FaceSpace
from vasa.face.volumetric.personal_face import PersonalFace
from vasa.inference.config import BACKGROUNDS, LivePlan
from vasa.inference.controls import AUTO, Emotion, conditions
from vasa.inference.edits import Edit, finite
from vasa.inference.features import feature_chunks
from vasa.inference.framing import Box, middle, named_square
from vasa.inference.generation import Generation, Portrait
from vasa.inference.joyvasa_source import JoyvasaSource
from vasa.inference.keypoint_edit import Driver, keypoint_edits
from vasa.inference.keypoint_framing import framed_portrait
from vasa.inference.live_features import live_features
from vasa.inference.noise import SeededNoise, SeedTrack, first_seed
from vasa.inference.paste import Surround
from vasa.inference.portrait import read_picture
from vasa.inference.rendering import FrameMaker
from vasa.inference.retarget import Retargeter
from vasa.inference.speed import Speed
from vasa.inference.system import MotionSource, load_system
from vasa.motion.windows import ConditionTrack, GuidanceTrack, MotionGenerator, NoiseTrack
from vasa.preprocess.align import FaceAligner, FoundFace, whole_frame
from vasa.preprocess.crop import cut
from vasa.preprocess.face_landmarks import FaceLandmarks
from vasa.preprocess.plate import Backdrop
from vasa.pretrained.config import DenseLandmarksConfig, DetectorConfig, MatteConfig
from vasa.pretrained.matte import Matte, build_matte
from vasa.pretrained.speech import SpeechEncoder
from vasa.records import Conditions


class TalkingFace:
    """A face space, a motion model and a speech encoder that belong together.

    device: where networks run. checkpoint: what is known of the files, for reports. matte: what tells a
    person from the background; its file is read when a portrait is first prepared for a plate. landmarks:
    by which a keypoint space frames faces; None: by five points.
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
        speed: Speed | None = None,
        landmarks: FaceLandmarks | None = None,
    ) -> None:
        self.face, self.motion, self.speech, self.aligner = face, motion, speech, aligner
        self.device, self.checkpoint = torch.device(device), dict(checkpoint or {})
        self._matte_config, self.speed = matte or MatteConfig(), speed or Speed()
        self.landmarks = landmarks or FaceLandmarks({})

    @property
    def person(self) -> PersonalFace | None:
        """Who the checkpoint was made for by scripts/personalise.py, if it was for somebody."""
        return self.face if isinstance(self.face, PersonalFace) else None

    @property
    def face_hash(self) -> str:
        """Of the motion encoders: whose language raw motion is in."""
        return str(self.checkpoint.get("encoders_sha256", ""))

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
        fast: bool = False,
        landmarks: DenseLandmarksConfig | None = None,
        speed: Speed | None = None,
    ) -> TalkingFace:
        """Loads a checkpoint folder made by ``scripts/bundle.py``. fast: its motion model's student.
        landmarks: files that a keypoint space frames faces by. speed: how frames are computed.

        Raises: FileNotFoundError; CheckpointError when a file is damaged, of another version, or of another
        face space; ValueError for landmarks that nothing would read.
        """
        chosen = choose_device(str(device))
        system = load_system(Path(folder), chosen, detector, fast, landmarks, speed)
        return TalkingFace(
            system.face,
            system.motion,
            system.speech,
            system.aligner,
            chosen,
            system.known,
            matte,
            speed,
            system.landmarks,
        )

    @torch.inference_mode()
    def prepare(
        self,
        image: str | Path | Image.Image | np.ndarray,
        size: int = 512,
        allow_centre_crop: bool = False,
        known: FoundFace | None = None,
        keep_expression: float = 1.0,
        background: str = "carried",
        paste: bool = False,
        rules: RulesConfig | None = None,
        face_box: Box | None = None,
    ) -> Portrait:
        """Finds the face and encodes it, once.

        size: largest side of the video in pixels; a smaller face keeps its own, but not in a keypoint space,
        whose frames do not come from the photograph's pixels. known: where the face is, if
        that need not be searched. keep_expression: share of the portrait's expression that is taken for how
        this face looks at rest and that movement is added to; at 0 movement replaces it. background: carried
        along as the face space renders it, or "plate": the portrait's own, the hole behind the person filled.
        paste: frames are put back into the whole photograph. rules: of a keypoint face space, which frames
        faces by them. face_box: the square that shows the face; an animal's is the picture's middle without
        one.

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
        person = self.person if self.person is not None and self.person.is_portrait(photo) else None
        if person is not None:
            known = whole_frame(photo, size)
        if known is not None and face_box is not None:
            raise ValueError("face_box is given for a picture that is framed already; leave it out.")
        found, openings = known or self._found(photo, size, allow_centre_crop, face_box), None
        if isinstance(self.face, KeypointFace):
            found, openings = framed_portrait(photo, found, self.landmarks, rules or RulesConfig(), size)
        picture = cut(photo, found.crop)
        pixels = torch.from_numpy(picture.copy()).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        points = None
        if found.points is not None:
            points = torch.from_numpy(found.crop.to_crop(found.points)).float().to(self.device)[None]
        if person is not None:
            appearance = person.encode_person(found.crop.size, keep_expression)
        else:
            appearance = self.face.encode(pixels, points, keep_expression)
        motion = self.face.own_motion(appearance)
        backdrop = Backdrop.of(pixels, self.matte) if background == "plate" else None
        surround = None
        if paste:
            appearance, surround = self.face.hold_edges(appearance), Surround.of(photo, found.crop)
        appearance = self.face.ready(appearance)
        seconds = time.perf_counter() - started
        return Portrait(picture, found, appearance, motion, seconds, backdrop, surround, openings)

    def _found(
        self, photo: np.ndarray, size: int, allow_centre_crop: bool, face_box: Box | None
    ) -> FoundFace:
        if face_box is not None:
            return named_square(photo, face_box, self.aligner, self.face.size, size)
        if isinstance(self.face, KeypointFace) and self.face.species != "human":
            return middle(photo, self.face.size, size)
        return self.aligner.find(photo, self.face.size, size, allow_centre_crop)

    def generate(
        self,
        image: str | Path | Image.Image | np.ndarray | Portrait,
        waveform: np.ndarray | Tensor,
        sample_rate: int,
        *,
        gaze_yaw: float = 0.0,
        gaze_pitch: float = 0.0,
        distance: float = 1.0,
        emotion: Emotion = AUTO,
        keep_expression: float = 1.0,
        pose: str = "relative",
        seed: int | SeedTrack = 0,
        steps: int | None = None,
        guidance: Mapping[str, float] | GuidanceTrack | None = None,
        size: int = 512,
        batch_frames: int = 8,
        allow_centre_crop: bool = False,
        background: str = "carried",
        edits: Sequence[Edit] = (),
        asked: Conditions | ConditionTrack | None = None,
        rules: RulesConfig | None = None,
        plan: LivePlan | None = None,
    ) -> Generation:
        """Makes the portrait speak. Everything is checked, and the portrait encoded, before this returns;
        frames come after.

        waveform: (N,) at ``sample_rate`` Hz, or what else ``audio.check_waveform`` takes. gaze_yaw,
        gaze_pitch: radians, of the eyes relative to the head. distance: 1 keeps the portrait's framing.
        emotion: a name or weights of several, "none" or "auto" (see ``controls.conditions``).
        keep_expression, background: see ``prepare``. pose: see ``retarget.Retargeter``. seed, guidance: one
        for the whole video, or asked anew for every window of motion. steps, guidance: None takes the
        checkpoint's. batch_frames: frames rendered at once, always as many; it changes speed and memory, and
        the video by a grey level at most. edits: applied in order to the portrait's motion. asked: what the
        motion model is asked for in place of gaze, distance and emotion, also by the window. rules: of a
        keypoint face space. plan: motion as live speech is answered.
        Result: an iterable of uint8 (H, W, 3) RGB frames, 25 a second.

        Raises: ValueError, FileNotFoundError.
        """
        neutral = self.motion.config.sampler.neutral
        wanted = asked or conditions(gaze_yaw, gaze_pitch, distance, emotion, neutral)
        samples = check_waveform(waveform, sample_rate)
        if isinstance(image, Portrait):
            portrait = image
        else:
            portrait = self.prepare(
                image,
                size,
                allow_centre_crop,
                keep_expression=keep_expression,
                background=background,
                rules=rules,
            )
        if rules is not None and rules.compat == "upstream":
            motion, num_frames = self._as_published(samples, sample_rate, seed, steps, guidance)
        else:
            motion = self.speak(samples, sample_rate, wanted, seed, steps, guidance, plan)
            num_frames = frames_for(len(samples), sample_rate)
        edits = self.chain(portrait, edits, pose, distance, rules or RulesConfig())
        return self.perform(portrait, motion, num_frames, edits, first_seed(seed), batch_frames)

    def _as_published(
        self,
        samples: np.ndarray,
        sample_rate: int,
        seed: int | SeedTrack,
        steps: int | None,
        guidance: Mapping[str, float] | GuidanceTrack | None,
    ) -> tuple[Iterator[Tensor], int]:
        """JoyVASA's motion by its own windows. Raises: ValueError of what these do not have."""
        if not isinstance(self.motion, JoyvasaSource) or callable(seed) or callable(guidance):
            raise ValueError(
                "keypoints.compat=upstream wants JoyVASA's motion model, one seed and one strength of "
                "guidance for the whole video; leave their tracks out, or compat."
            )
        waveform = torch.from_numpy(resample(samples, sample_rate))
        return self.motion.as_published(
            waveform, torch.Generator().manual_seed(seed), steps, guidance or None
        )

    def chain(
        self, portrait: Portrait, edits: Sequence[Edit], pose: str, distance: float, rules: RulesConfig
    ) -> list[Edit]:
        """What generated motion goes through: made the portrait's, edited, finished as its space wants."""
        if isinstance(self.face, KeypointFace):
            heard = Driver("motion made of sound", sound=True)
            move, finish = keypoint_edits(self.face, portrait, rules, heard, pose=pose, distance=distance)
            return [move, *edits, finish]
        return [Retargeter(self.face, portrait.motion, pose, distance), *edits]

    def speak(
        self,
        samples: np.ndarray,
        sample_rate: int,
        wanted: Conditions | ConditionTrack,
        seed: int | SeedTrack = 0,
        steps: int | None = None,
        guidance: Mapping[str, float] | GuidanceTrack | None = None,
        plan: LivePlan | None = None,
    ) -> Iterator[Tensor]:
        """Raw motion (t, E) that the motion model makes of a checked waveform (N,); nobody's yet. What
        guidance does not name has the checkpoint's. plan: as live speech is answered.
        """
        num_frames = frames_for(len(samples), sample_rate)
        if plan is not None:
            features = live_features(self.speech, resample(samples, sample_rate), plan, num_frames)
            return self.speak_live(iter([features]), wanted, seed, steps, guidance, plan)
        return self.motion.generate(
            feature_chunks(self.speech, samples, sample_rate, num_frames),
            wanted,
            generator=_noise(seed),
            num_frames=num_frames,
            steps=steps,
            guidance=self._completed(guidance),
        )

    def speak_live(
        self,
        features: Iterator[Tensor],
        wanted: Conditions | ConditionTrack,
        seed: int | SeedTrack,
        steps: int | None,
        guidance: Mapping[str, float] | GuidanceTrack | None,
        plan: LivePlan,
    ) -> Iterator[Tensor]:
        """The same of features that come when they come, in the windows of a plan. Raises: ValueError for a
        motion model that has no such windows.
        """
        if not isinstance(self.motion, MotionGenerator):
            raise ValueError(
                "live speech wants a motion model of short windows, such as that of checkpoints/demo; this "
                "checkpoint's draws whole windows of sound: make files with infer.py."
            )
        thrown_away = plan.window - plan.hop
        return self.motion.generate(
            features,
            wanted,
            generator=_noise(seed),
            steps=steps,
            guidance=self._completed(guidance),
            window_frames=plan.window,
            lookahead_frames=thrown_away,
            unheard_frames=thrown_away - plan.lookahead,
        )

    def _completed(
        self, guidance: Mapping[str, float] | GuidanceTrack | None
    ) -> Mapping[str, float] | GuidanceTrack | None:
        """Guidance in which the checkpoint's own stands where it names nothing."""
        if not guidance:
            return None
        own = self.motion.config.sampler.guidance.as_dict()
        if callable(guidance):
            return lambda first, stop: {**own, **guidance(first, stop)}
        return {**own, **guidance}

    def perform(
        self,
        portrait: Portrait,
        motion: Iterator[Tensor],
        num_frames: int,
        edits: Sequence[Edit] = (),
        seed: int = 0,
        batch_frames: int = 8,
    ) -> Generation:
        """Shows raw motion, wherever it is from, on a portrait: every way of making a video ends here.

        motion: chunks (t, E) of ``num_frames`` frames in all, which ``edits`` change in order. seed: what the
        motion was drawn with, for reports. Raises, while frames are made: FloatingPointError for motion that
        is not finite.
        """
        timings = {"portrait_s": portrait.seconds, "motion_s": 0.0, "render_s": 0.0}
        if isinstance(self.face, KeypointFace) and self.device.type == "cpu":
            batch_frames = 1  # it renders them one by one, so a last batch need not be filled up
        frames = self._frames(portrait, motion, edits, batch_frames, timings)
        side = portrait.picture.shape[0]
        shape = (side, side) if portrait.surround is None else portrait.surround.shape
        return Generation(portrait, num_frames, seed, timings, shape, frames)

    def _frames(
        self,
        portrait: Portrait,
        motion: Iterator[Tensor],
        edits: Sequence[Edit],
        batch_frames: int,
        timings: dict[str, float],
    ) -> Iterator[np.ndarray]:
        moved = self._moved(motion, edits, timings)
        yield from FrameMaker(self.face, portrait, self.device, self.speed).made(moved, batch_frames, timings)

    def _moved(
        self, motion: Iterator[Tensor], edits: Sequence[Edit], timings: dict[str, float]
    ) -> Iterator[Tensor]:
        """Chunks of motion as those of the portrait, checked."""
        made = 0
        while True:
            with torch.inference_mode():
                started = time.perf_counter()
                chunk = next(motion, None)
                if chunk is None:
                    return
                chunk = chunk.to(self.device)
                for edit in edits:
                    chunk = edit(chunk, made)
                made += len(finite(chunk))
                timings["motion_s"] += time.perf_counter() - started
            yield chunk


def _noise(seed: int | SeedTrack) -> torch.Generator | NoiseTrack:
    return SeededNoise(seed) if callable(seed) else torch.Generator().manual_seed(seed)
