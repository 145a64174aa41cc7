"""Puts a checkpoint through its trials: makes the frames whose numbers the table of the card shows.
Measures nothing.

Rendered people come from the test split; real recordings, clips and photographs are used where a media
folder is given.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasa.audio import fit_length, read_audio, resample
from vasa.data.config import TrialsConfig
from vasa.data.synthetic.heads import make_identities
from vasa.data.trials import (
    AskedClip,
    Outcomes,
    Photograph,
    RealClip,
    Recording,
    Reenactment,
    SpokenClip,
    asked_values,
    portrait_animation,
    portrait_of,
    reenactment_trial,
    speaking,
    spoken_clips,
    to_float,
    to_uint8,
    true_frames,
)
from vasa.device import fast_precision
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.inference.features import feature_chunks
from vasa.inference.pipeline import TalkingFace
from vasa.inference.retarget import Retargeter
from vasa.preprocess.crop import Crop, cut
from vasa.preprocess.framing import WANDERS
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.landmarks import LandmarkNet
from vasa.progress import counted
from vasa.records import AUDIO_HZ, CONTROL_INDEX, SAMPLES_PER_FRAME, VIDEO_FPS, Conditions
from vasa.video import VideoReader

log = logging.getLogger(__name__)
YAW_RANGE_RAD = math.radians(15)


class Trials:
    """One checkpoint on trial. media: a folder with audio/, image/ and video/ of real people, or None."""

    def __init__(
        self, face: TalkingFace, config: TrialsConfig, landmarks: LandmarkNet, media: Path | None
    ) -> None:
        self.face, self.config, self.media = face, config, media
        self.landmarks = landmarks
        self.space = face.face

    @torch.inference_mode()
    def run(self) -> Outcomes:
        """All trials; those of real media only where there are any."""
        out = Outcomes()
        out.reenactment = self.reenact()
        log.info("Reenactment: %d people.", self.config.pairs)
        out.spoken = list(self.speak())
        log.info("Speech: %d clips.", len(out.spoken))
        out.asked = list(self.ask())
        out.asked_true = list(self.asked_truth())
        log.info("Conditions: %d clips.", len(out.asked))
        if self.media is None or not self.media.is_dir():
            out.skipped["real"] = "no folder of real media (audio, image, video) was there"
            return out
        out.recordings = list(self.record())
        out.real_clips = list(self.replay(out.skipped))
        out.photographs = list(self.photograph(out.skipped))
        counts = len(out.recordings), len(out.real_clips), len(out.photographs)
        log.info("Real: %d recordings, %d clips, %d photographs.", *counts)
        return out

    # Rendered people

    def reenact(self) -> Reenactment:
        """Every person driven by itself, by the next, and by its own pose with the next one's expression."""
        trial, layout = reenactment_trial(self.config), self.space.layout
        own = torch.cat([self.space.motion(self._pixels(part)) for part in trial.true_self.split(16)])
        other = own.roll(-1, 0)
        swapped = own.clone()
        swapped[:, layout.dynamics] = other[:, layout.dynamics]
        made = [
            self._render(source, torch.stack(motions))
            for source, *motions in counted(
                "people", zip(trial.source, own, other, swapped, strict=True), len(own)
            )
        ]
        return Reenactment(trial, *torch.stack(made, 1))

    def speak(self) -> Iterator[SpokenClip]:
        """Unseen speech on unseen portraits."""
        clips = spoken_clips(self.config)
        for index in counted("clips of speech", range(len(clips))):
            clip = clips.animation_only(index)
            source = portrait_of(clip.identity, self.config)
            started = time.process_time()
            motion = self._motion(source, clip.audio, Conditions(), self.config.seed + index)
            made = self._render(source, motion)
            seconds = time.process_time() - started
            true = None
            if index < self.config.true_clips:
                true = torch.from_numpy(clips[index].frames).permute(0, 3, 1, 2).contiguous()
            yield SpokenClip(clip, made, motion[:, self.space.layout.rotation].cpu(), true, seconds)

    def ask(self) -> Iterator[AskedClip]:
        """Clips with gaze, distance and emotion asked for, spoken by the test clips' voices."""
        clips = spoken_clips(self.config)
        for index, (gaze, distance, emotion) in enumerate(
            counted("clips with conditions", list(asked_values(self.config)))
        ):
            clip = clips.animation_only(index % len(clips))
            person = clip.identity + 1
            source = portrait_of(person, self.config)
            framing = math.exp(-float(portrait_animation(person).pose[0, 5]))
            wanted = Conditions(gaze[None], distance[None, None], emotion[None])
            motion = self._motion(source, clip.audio, wanted, self.config.seed + 1000 + index)
            some = torch.linspace(0.2, 1, self.config.asked_frames).mul(len(motion) - 1).round().long()
            yield AskedClip(gaze, distance, emotion, self._render(source, motion[some]), framing)

    def asked_truth(self) -> Iterator[AskedClip]:
        """True renders of test clips with the conditions they were animated under: the judges' ceiling."""
        clips = spoken_clips(self.config)
        for index in counted("true clips", range(len(clips))):
            clip = clips.animation_only(index)
            animation = clip.truth.animation
            assert animation is not None and clip.emotion is not None
            assert clip.gaze is not None and clip.distance is not None
            some = torch.linspace(0.2, 1, self.config.asked_frames).mul(len(animation) - 1).round().long()
            people = make_identities([clip.identity])[torch.zeros(len(some), dtype=torch.long)]
            true = true_frames(people, animation[some], self.config)
            yield AskedClip(clip.gaze, clip.distance, clip.emotion, true)

    # Real media

    def record(self) -> Iterator[Recording]:
        """Real recordings, followed by a second of silence, spoken by rendered portraits."""
        for index, path in enumerate(counted("recordings", self._files("audio"))):
            audio = resample(*read_audio(path), AUDIO_HZ)[: int(self.config.recording_seconds * AUDIO_HZ)]
            whole = np.concatenate([audio, np.zeros(AUDIO_HZ, dtype=np.float32)])
            whole = fit_length(whole, len(whole) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME)
            source = portrait_of(2_900_000 + index, self.config)
            motion = self._motion(source, whole, Conditions(), self.config.seed + index)
            yield Recording(path.stem, whole, self._render(source, motion))

    def replay(self, skipped: dict[str, str]) -> Iterator[RealClip]:
        """Real clips driven by themselves from their first frame."""
        for path in counted("real clips", self._files("video")):
            frames = [frame.copy() for frame in VideoReader(path).resampled()]
            some = np.linspace(0, len(frames) - 1, self.config.real_frames + 1).round().astype(int)
            try:
                crops, seen = self._follow([frames[i] for i in some])
            except ValueError as error:
                skipped[path.name] = str(error)
                continue
            cuts = [self._tensor(cut(frames[i], crop)) for i, crop in zip(some, crops, strict=True)]
            pictures = torch.stack(cuts)
            pixels = self._pixels(pictures)
            points = None if seen is None else torch.from_numpy(seen).float().to(self.face.device)[None]
            appearance = self.space.encode(pixels[:1], points)
            motion = self.space.motion(pixels[1:])
            boxes = face_boxes(self.landmarks.predict(pixels[1:]).landmarks).cpu()
            made = to_uint8(self.space.render(appearance, motion)).cpu()
            warped = None
            if isinstance(self.space, FaceAutoencoder) and self.space.config.source_pixels:
                warped = to_uint8(self.space.render(appearance, motion, learned=False)).cpu()
            yield RealClip(path.stem, pictures[0], pictures[1:], made, boxes, warped)

    def photograph(self, skipped: dict[str, str]) -> Iterator[Photograph]:
        """Real photographs: speaking, and turned to commanded yaw."""
        clips = spoken_clips(self.config)
        spoken = [clip for clip in (clips.animation_only(i) for i in range(len(clips))) if speaking(clip)]
        for index, path in enumerate(counted("photographs", self._files("image"))):
            try:
                portrait = self.face.prepare(path, self.config.photo_size)
            except ValueError as error:
                skipped[path.name] = str(error)
                continue
            clip = spoken[index % len(spoken)]
            assert clip.truth.animation is not None
            num_frames = min(clip.num_frames, int(self.config.photo_seconds * VIDEO_FPS))
            raw = self._raw_motion(
                clip.audio[: num_frames * SAMPLES_PER_FRAME], Conditions(), self.config.seed
            )
            motion = Retargeter(self.space, portrait.motion)(raw)
            jaw = clip.truth.animation.controls[:num_frames, CONTROL_INDEX["jaw"]]
            yaw = torch.linspace(-YAW_RANGE_RAD, YAW_RANGE_RAD, self.config.yaw_steps)
            turned = portrait.motion.repeat(len(yaw), 1)
            turned[:, self.space.layout.rotation.start] += yaw.to(turned.device)
            source = self._tensor(portrait.picture)
            box = face_boxes(self.landmarks.predict(self._pixels(source[None])).landmarks)[0].cpu()
            made = self._batched(portrait.appearance, motion)
            turned = self._batched(portrait.appearance, turned)
            yield Photograph(path.stem, source, box, jaw, made, yaw, turned)

    # Parts

    def _files(self, kind: str) -> list[Path]:
        folder = (self.media or Path()) / kind
        return sorted(p for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []

    def _pixels(self, frames: Tensor) -> Tensor:
        return to_float(frames).to(self.face.device)

    @staticmethod
    def _tensor(picture: np.ndarray) -> Tensor:
        return torch.from_numpy(picture).permute(2, 0, 1).contiguous()

    def _raw_motion(self, audio: np.ndarray, wanted: Conditions, seed: int) -> Tensor:
        num_frames = len(audio) // SAMPLES_PER_FRAME
        chunks = self.face.motion.generate(
            feature_chunks(self.face.speech, audio, AUDIO_HZ, num_frames),
            self._filled(wanted),
            generator=torch.Generator().manual_seed(seed),
            num_frames=num_frames,
            steps=None,
            guidance=None,
        )
        return torch.cat(list(chunks)).to(self.face.device)

    def _filled(self, wanted: Conditions) -> Conditions:
        """What was not asked for as `infer.py` leaves it: straight gaze, reference distance, no emotion."""
        device = self.face.device
        gaze = torch.zeros(1, 2) if wanted.gaze is None else wanted.gaze
        distance = torch.ones(1, 1) if wanted.distance is None else wanted.distance
        emotion = torch.zeros(1, 8) if wanted.emotion is None else wanted.emotion
        return Conditions(gaze.to(device), distance.to(device), emotion.to(device))

    def _motion(self, source: Tensor, audio: np.ndarray, wanted: Conditions, seed: int) -> Tensor:
        """Raw motion (T, E) of a rendered portrait, as inference retargets it."""
        own = self.space.motion(self._pixels(source[None]))
        distance = 1.0 if wanted.distance is None else float(wanted.distance)
        return Retargeter(self.space, own, distance=distance)(self._raw_motion(audio, wanted, seed))

    def _render(self, source: Tensor, motion: Tensor) -> Tensor:
        return self._batched(self.space.ready(self.space.encode(self._pixels(source[None]))), motion)

    def _batched(self, appearance: object, motion: Tensor) -> Tensor:
        with fast_precision(self.face.device):  # as infer.py renders
            made = [to_uint8(self.space.render(appearance, part).float()).cpu() for part in motion.split(8)]
        return torch.cat(made)

    def _follow(self, frames: list[np.ndarray]) -> tuple[list[Crop], np.ndarray | None]:
        """The first frame's crop for all, moved along where the face wanders, and the first face's five
        points (5, 2) in image coordinates of its crop, if seen.

        Raises: ValueError where no face is found.
        """
        faces = [self.face.aligner.find(frame, self.space.size, self.space.size) for frame in frames]
        found = [face.crop for face in faces]
        first, seen = found[0], faces[0].points
        points = None if seen is None else first.to_crop(seen)
        shift = max(math.hypot(c.centre_x - first.centre_x, c.centre_y - first.centre_y) for c in found)
        if shift < WANDERS * first.side:
            return [first] * len(found), points
        return [Crop(c.centre_x, c.centre_y, first.side, first.size) for c in found], points
