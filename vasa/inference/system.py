"""A checkpoint folder, loaded: face space, motion model, speech encoder and what finds faces, of either kind
of space.

Of LivePortrait's keypoints the motion model is JoyVASA's, this project's transformer, or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vasa.checkpoint import CheckpointError, content_hash, from_plain, load_weights
from vasa.device import picture_precision
from vasa.face.config import MOTION_ENCODERS
from vasa.face.keypoints.networks import KIND as KEYPOINTS
from vasa.face.keypoints.space import KeypointFace
from vasa.face.keypoints.template import check_same_keypoints
from vasa.face.space import FaceSpace
from vasa.face.spaces import encoders_hash
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.person import PERSON_FILE
from vasa.face.volumetric.personal_face import PersonalFace, with_person
from vasa.inference.bundle_files import FACE_FILE, MOTION_FILE, STUDENT_FILE, read_bundle
from vasa.inference.joyvasa_source import JoyvasaSource, NoMotion
from vasa.inference.speed import Speed
from vasa.motion.config import MotionConfig
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.motion.windows import KIND as TRANSFORMER
from vasa.motion.windows import ConditionTrack, GuidanceTrack, MotionGenerator, NoiseTrack
from vasa.preprocess.align import FaceAligner
from vasa.preprocess.face_landmarks import FaceLandmarks
from vasa.pretrained.config import DenseLandmarksConfig, DetectorConfig, SpeechConfig
from vasa.pretrained.dense_landmarks import build_dense
from vasa.pretrained.speech import SpeechEncoder, build_speech_encoder
from vasa.records import Conditions, MotionLayout


class MotionSource(Protocol):
    """What the pipeline needs of a motion model."""

    @property
    def layout(self) -> MotionLayout: ...

    @property
    def config(self) -> MotionConfig: ...

    def generate(
        self,
        features: Iterator[Tensor],
        conditions: Conditions | ConditionTrack,
        *,
        generator: torch.Generator | NoiseTrack,
        num_frames: int,
        steps: int | None,
        guidance: Mapping[str, float] | GuidanceTrack | None,
    ) -> Iterator[Tensor]: ...


@dataclass(slots=True)
class System:
    """What a pipeline is made of. landmarks: by which a keypoint space frames faces. known: the folder, what
    its bundle.json says, hashes of its files and which landmarks these are, for provenance.
    """

    face: FaceSpace
    motion: MotionSource
    speech: SpeechEncoder
    aligner: FaceAligner
    landmarks: FaceLandmarks = field(default_factory=lambda: FaceLandmarks({}))
    known: dict[str, Any] = field(default_factory=dict)


def load_system(
    folder: Path,
    device: torch.device,
    detector: DetectorConfig | None = None,
    fast: bool = False,
    landmarks: DenseLandmarksConfig | None = None,
    speed: Speed | None = None,
) -> System:
    """A folder made by ``scripts/bundle.py`` or ``scripts/weights.py``. Arguments and errors: as
    ``TalkingFace.from_pretrained``.
    """
    card, speed = read_bundle(folder), speed or Speed()
    motion_file = folder / (STUDENT_FILE if fast else MOTION_FILE)
    if fast and not motion_file.is_file():
        raise FileNotFoundError(
            f"checkpoint {str(folder)!r} has no {STUDENT_FILE}, which fast=true asks for; leave it out, "
            "or bundle a student (train_motion.py experiment=motion_distill)."
        )
    aligner = FaceAligner(detector or DetectorConfig())
    if card.get("space") == KEYPOINTS:
        if speed.compile or speed.layout != "auto":
            raise ValueError(
                f"compile={str(speed.compile).lower()} layout={speed.layout} are of the decoder of this "
                f"project's own face space, and checkpoint {str(folder)!r} is of keypoints; leave them out."
            )
        system = _of_keypoints(folder, motion_file, device, speed.precision, aligner, landmarks)
    else:
        why = f"the face space of checkpoint {str(folder)!r} is not of keypoints, which they frame faces for"
        _refuse_landmarks(landmarks, why)
        system = _volumetric(folder, motion_file, device, aligner, speed)
    system.known = {"folder": str(folder), **card, **system.known}
    return system


def _volumetric(
    folder: Path, motion_file: Path, device: torch.device, aligner: FaceAligner, speed: Speed
) -> System:
    """Of this project's own face space, perhaps taught one person. Raises: FileNotFoundError,
    CheckpointError.
    """
    face_file = folder / FACE_FILE
    motion = MotionGenerator.from_pretrained(motion_file, device)
    hashes = {"face_sha256": content_hash(face_file), "motion_sha256": content_hash(motion_file)}
    encoders = content_hash(face_file, MOTION_ENCODERS)
    if motion.face_hash != encoders:
        raise CheckpointError(
            f"{motion_file.name} in {folder} belongs to motion encoders {motion.face_hash[:12]}, but "
            f"those of {FACE_FILE} are {encoders[:12]}; "
            "bundle a motion model with the face space whose motion it was trained on."
        )
    space = FaceAutoencoder.from_pretrained(face_file).to(device)
    if speed.layout != "nchw":
        space.quicken(picture_precision(device, speed.precision), speed.compile)
    face = with_person(space, folder)
    if isinstance(face, PersonalFace):
        hashes["person_sha256"] = content_hash(folder / PERSON_FILE)
    speech = build_speech_encoder(from_plain(SpeechConfig, motion.audio, "speech encoder"))
    return System(face, motion, speech, aligner, known={**hashes, "encoders_sha256": encoders})


def _of_keypoints(
    folder: Path,
    motion_file: Path,
    device: torch.device,
    precision: str,
    aligner: FaceAligner,
    landmarks: DenseLandmarksConfig | None,
) -> System:
    """Of LivePortrait's face space. Raises: FileNotFoundError, CheckpointError; ValueError."""
    face_file = folder / FACE_FILE
    face = KeypointFace.from_pretrained(face_file, device, picture_precision(device, precision))
    encoders = encoders_hash(face_file)
    hashes = {"face_sha256": content_hash(face_file), "encoders_sha256": encoders}
    motion: MotionSource = NoMotion(folder)
    speech: SpeechEncoder = build_speech_encoder(SpeechConfig())
    if motion_file.is_file():
        hashes["motion_sha256"] = content_hash(motion_file)
        motion, speech = _keypoint_motion(motion_file, device, precision, encoders)
    system = System(face, motion, speech, aligner, known=hashes)
    if face.species == "human":
        networks = build_dense(landmarks or DenseLandmarksConfig())
        system.landmarks = FaceLandmarks(networks)
        if networks:  # found where they are kept, or named: faces are framed otherwise than without
            system.known["landmarks"] = "+".join(map(str, sorted(networks)))
    else:
        _refuse_landmarks(
            landmarks, f"checkpoint {str(folder)!r} is of animals, and these networks know people"
        )
    return system


def _keypoint_motion(
    path: Path, device: torch.device, precision: str, encoders: str
) -> tuple[MotionSource, SpeechEncoder]:
    """A motion model of keypoints with what it hears by. encoders: hash of the face space's. Raises:
    CheckpointError where it learned from others.
    """
    if load_weights(path).meta.get("model") == TRANSFORMER:
        transformer = MotionGenerator.from_pretrained(path, device)
        check_same_keypoints(transformer.face_hash, path, encoders)
        audio = from_plain(SpeechConfig, transformer.audio, "speech encoder")
        return transformer, build_speech_encoder(audio, device)
    model = JoyvasaMotion.from_pretrained(path, device)
    check_same_keypoints(model.face_hash, path, encoders)
    model.precision = torch.bfloat16 if precision == "bf16" else torch.float32
    return JoyvasaSource(model), model.speech


def _refuse_landmarks(landmarks: DenseLandmarksConfig | None, why: str) -> None:
    """Raises: ValueError where files are named that nothing would read."""
    if landmarks not in (None, DenseLandmarksConfig()):
        raise ValueError(f"landmarks are named, but {why}; leave them out.")
