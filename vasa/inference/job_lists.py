"""Lists of jobs that evaluations are made of: portraits, sounds and true videos in a folder, and the list.

Synthetic: test people who speak test sentences, with everything known about them. From a folder of real
clips: each spoken by its own first frame. Both with what a sceptic asks for: a portrait that stands still,
lips driven by another clip's speech, another clip's true motion under this sound, the untrained warp, and
sweeps of each control. Where the truth is known also reenactment, by oneself and by another person, and one's
own head under another's expression: each with its true frames.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

from vasa.audio import fit_length, read_audio, resample
from vasa.checkpoint import atomic_path, from_plain, plain
from vasa.data.config import ClipsConfig, SpokenConfig, TrialsConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.heads import make_identities
from vasa.data.trials import portrait_of, true_frames
from vasa.inference.config import MakeJobsRun
from vasa.inference.jobs import JOB_ENDING, Job, write_jobs
from vasa.records import AUDIO_HZ, EMOTIONS, SAMPLES_PER_FRAME, VIDEO_FPS, Animation
from vasa.video import VideoReader, VideoWriter
from vasa.workers import share_work

log = logging.getLogger(__name__)

LIST = "jobs.jsonl"
VIDEO_KINDS = (".mp4", ".mov", ".webm", ".mkv", ".avi")
REAL, OURS, WARP, SHUFFLED, STILL, OTHER, SWEEP = (
    "real", "vasa", "untrained_warp", "shuffled_audio", "still_portrait", "other_motion", "controls",
)  # fmt: skip
SELF, CROSS, SWAPPED = "self_reenactment", "cross_reenactment", "expression_swapped"
TRUE_FRAMES = "true_frames"
"""Folder of the frames that reenactment should have made; no row."""
GAZE_DEG, PITCH_DEG, DISTANCES = (-12.0, -6.0, 6.0, 12.0), (-8.0, 8.0), (0.85, 1.15, 1.3)


@dataclasses.dataclass(slots=True)
class Material:
    """One clip of a list, in the list's folder. truth: what is known of it, for the job files."""

    name: str
    truth: dict[str, Any]


def make_list(run: MakeJobsRun) -> Path:
    """Writes portraits, sounds, true and baseline videos and, last, the list. Returns its path.

    What is there already stays, so that a killed run goes on. Raises: FileNotFoundError, ValueError.
    """
    clips = list(_synthetic(run) if run.clips_from is None else _from_folder(run, run.clips_from))
    if len(clips) < 2:
        raise ValueError(f"{len(clips)} clip in the list; wanted at least 2: the controls need another clip.")
    jobs: list[Job] = []
    for index, clip in enumerate(clips):
        other = clips[index - 1]
        _still(run.output, clip.name)
        _under_other_sound(run.output, clip.name, other.name)
        for row in (REAL, STILL, OTHER):
            _stamp(run.output / row / f"{clip.name}{JOB_ENDING}", clip)
        jobs += _spoken(run, clip, other)
    known = [index for index, clip in enumerate(clips) if clip.truth][: run.reenactments]
    jobs += [job for index in known for job in _reenacted(run, clips[index], clips[index - 1])]
    jobs += [job for index in range(run.sweeps) for job in _sweep(run, clips[index % len(clips)])]
    write_jobs(run.output / LIST, jobs)
    log.info("%d clips, %d jobs: %s", len(clips), len(jobs), run.output / LIST)
    return run.output / LIST


# Clips


def _synthetic(run: MakeJobsRun) -> Iterator[Material]:
    """Test clips in portrait mode, rendered in full quality."""
    share_work(_render_part, run.workers, run)
    _render_part(run, 0, 1)
    config = _clips_config(run)
    for index in range(run.num_clips):
        yield Material(_name(index), {"split": "test", "index": index, "clips": plain(config)})


def _name(index: int) -> str:
    return f"clip{index:03d}"


def _clips_config(run: MakeJobsRun) -> ClipsConfig:
    share = SpokenConfig().espeak_share if find_spec("espeakng_loader") else 0.0
    return ClipsConfig(
        num_clips=run.num_clips,
        seed=run.seed,
        seconds=run.seconds,
        size=run.size,
        quality="full",
        spoken=SpokenConfig(espeak_share=share, silent_share=0.0),
    )


def _render_part(run: MakeJobsRun, part: int, parts: int) -> None:
    """Every ``parts``-th clip that is not there yet."""
    clips = SyntheticClips("test", _clips_config(run))
    for index in range(part, run.num_clips, parts):
        name = _name(index)
        if not _is_there(run.output, name):
            clip = clips[index]
            assert clip.frames is not None
            portrait = portrait_of(clip.identity, TrialsConfig(size=run.size))
            _write(run.output, name, portrait.permute(1, 2, 0).numpy(), clip.frames, clip.audio)
            log.info("%s of %d rendered.", name, run.num_clips)


def _from_folder(run: MakeJobsRun, folder: Path) -> Iterator[Material]:
    """Real clips with sound, drawn by seed; the portrait is the first frame."""
    if not folder.is_dir():
        raise FileNotFoundError(f"clips_from={folder} is no folder; give one with videos that have sound.")
    for path in _drawn(run, folder):
        name = "_".join(path.relative_to(folder).with_suffix("").parts)
        if not _is_there(run.output, name):
            audio = resample(*read_audio(path), AUDIO_HZ)
            frames = [f.copy() for f in VideoReader(path).resampled(stop=round(run.seconds * VIDEO_FPS))]
            sound = fit_length(audio, len(frames) * SAMPLES_PER_FRAME)
            _write(run.output, name, frames[0], np.stack(frames), sound)
            log.info("%s written.", name)
        yield Material(name, {})


def _drawn(run: MakeJobsRun, folder: Path) -> list[Path]:
    """The clips of a list: a pure function of the folder's content, of the seed and of the numbers."""
    rng = np.random.default_rng(run.seed)
    people = [folder]
    if run.num_people:
        everyone = sorted(path for path in folder.iterdir() if path.is_dir())
        if len(everyone) < run.num_people:
            raise ValueError(
                f"clips_from={folder} holds {len(everyone)} folders; wanted {run.num_people} people's."
            )
        people = [everyone[i] for i in sorted(rng.permutation(len(everyone))[: run.num_people])]
    drawn = []
    for person in people:
        clips = sorted(path for path in person.rglob("*") if path.suffix.lower() in VIDEO_KINDS)
        some: list[Path] = []
        for path in (clips[i] for i in rng.permutation(len(clips))):
            if len(some) < run.num_clips and _is_usable(path, run.min_seconds):
                some.append(path)
        drawn += sorted(some)
    return drawn


def _is_usable(path: Path, min_seconds: float) -> bool:
    """Whether a clip can be read, is long enough and has sound; says so where not."""
    try:
        reader = VideoReader(path)
        read_audio(path)
    except (ValueError, OSError) as error:
        log.warning("%s is left out: %s", path, error)
        return False
    if reader.duration_s < min_seconds:
        log.info("%s is left out: %.1f s, wanted %.1f.", path, reader.duration_s, min_seconds)
    return reader.duration_s >= min_seconds


def _places(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / f"portraits/{name}.png", folder / f"audio/{name}.wav", folder / REAL / f"{name}.mp4"


def _is_there(folder: Path, name: str) -> bool:
    return all(path.is_file() for path in _places(folder, name))


def _write(folder: Path, name: str, portrait: np.ndarray, frames: np.ndarray, audio: np.ndarray) -> None:
    picture, sound, video = _places(folder, name)
    with atomic_path(picture) as temporary:
        Image.fromarray(portrait).save(temporary, format="PNG")
    with atomic_path(sound) as temporary:
        soundfile.write(temporary, audio, AUDIO_HZ, subtype="PCM_16", format="WAV")
    _write_video(video, frames, audio)


def _write_video(path: Path, frames: np.ndarray, audio: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with VideoWriter(path, width, height, VIDEO_FPS, audio, AUDIO_HZ) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:height, :width]))


def _stamp(path: Path, clip: Material) -> None:
    """The job file of a video that no generator made: what is known of the sound that is heard in it."""
    content = {
        "name": clip.name,
        "group": clip.name,
        "portrait": f"../portraits/{clip.name}.png",
        "audio": f"../audio/{clip.name}.wav",
        "reference": f"../{REAL}/{clip.name}.mp4",
        "truth": clip.truth,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


# Controls that need no generator


def _still(folder: Path, name: str) -> None:
    """The portrait, as long as the sound."""
    picture, sound, _ = _places(folder, name)
    video = folder / STILL / f"{name}.mp4"
    if video.is_file():
        return
    audio, _ = read_audio(sound)
    with Image.open(picture) as portrait:
        frame = np.asarray(portrait.convert("RGB"))
    _write_video(video, np.broadcast_to(frame, (len(audio) // SAMPLES_PER_FRAME, *frame.shape)), audio)


def _under_other_sound(folder: Path, name: str, other: str) -> None:
    """The other clip's true video under this clip's sound."""
    video = folder / OTHER / f"{name}.mp4"
    if video.is_file():
        return
    audio, _ = read_audio(_places(folder, name)[1])
    frames = np.stack([frame.copy() for frame in VideoReader(_places(folder, other)[2]).resampled()])
    wanted = np.arange(len(audio) // SAMPLES_PER_FRAME) % len(frames)
    _write_video(video, frames[wanted], audio)


# Jobs


def _spoken(run: MakeJobsRun, clip: Material, other: Material) -> list[Job]:
    """This clip by us (run.samples seeds), by the untrained warp, and driven by the other clip's sound."""
    common: dict[str, Any] = {
        "image": f"portraits/{clip.name}.png",
        "audio": f"audio/{clip.name}.wav",
        "reference": f"{REAL}/{clip.name}.mp4",
        "group": clip.name,
        "truth": clip.truth,
        "framed": bool(clip.truth),
    }
    ours = [
        Job(name=f"{clip.name}_{seed}", row=OURS, seed=run.seed + seed, **common)
        for seed in range(run.samples)
    ]
    return [
        *ours,
        Job(name=clip.name, row=WARP, seed=run.seed, learned=False, **common),
        Job(name=clip.name, row=SHUFFLED, seed=run.seed, driven_by=f"audio/{other.name}.wav", **common),
    ]


def _reenacted(run: MakeJobsRun, clip: Material, other: Material) -> list[Job]:
    """This clip's portrait driven by its own video, by the other's, and by its own head with the other's
    face.
    """
    kinds = (  # row, whose head, whose expression and sound
        (SELF, clip, clip),
        (CROSS, other, other),
        (SWAPPED, clip, other),
    )
    jobs = []
    for row, head, face in kinds:
        reference = f"{REAL}/{clip.name}.mp4" if row == SELF else f"{TRUE_FRAMES}/{row}/{clip.name}.mp4"
        if row != SELF:
            _render_truth(run.output / reference, clip, head, face, run.output / f"audio/{face.name}.wav")
        job = Job(
            name=clip.name,
            row=row,
            image=f"portraits/{clip.name}.png",
            audio=f"audio/{face.name}.wav",
            pose_from=f"{REAL}/{head.name}.mp4",
            expression_from=None if head is face else f"{REAL}/{face.name}.mp4",
            reference=reference,
            group=clip.name,
            truth={**face.truth, "pose_index": head.truth["index"]},
            framed=True,
        )
        jobs.append(job)
    return jobs


def _render_truth(video: Path, clip: Material, head: Material, face: Material, sound: Path) -> None:
    """The person of one clip with the head motion and the expression of others."""
    if video.is_file():
        return
    config = from_plain(ClipsConfig, clip.truth["clips"], "truth.clips")
    clips = SyntheticClips(clip.truth["split"], config)
    person, *moving = (clips.animation_only(m.truth["index"]) for m in (clip, head, face))
    pose, expression = (m.truth.animation for m in moving)
    assert pose is not None and expression is not None
    length = min(len(pose), len(expression))
    animation = Animation(pose.pose[:length], expression.controls[:length])
    people = make_identities([person.identity])[torch.zeros(length, dtype=torch.long)]
    frames = true_frames(people, animation, TrialsConfig(size=config.size)).permute(0, 2, 3, 1).numpy()
    _write_video(video, frames, read_audio(sound)[0][: length * SAMPLES_PER_FRAME])


def _sweep(run: MakeJobsRun, clip: Material) -> list[Job]:
    """Every control of one clip at several values, one at a time; and none, which the others are held to."""
    asked: list[tuple[str, dict[str, Any]]] = [("as_it_is", {})]
    asked += [(f"gaze_yaw_{value:+g}", {"gaze_yaw": value}) for value in GAZE_DEG]
    asked += [(f"gaze_pitch_{value:+g}", {"gaze_pitch": value}) for value in PITCH_DEG]
    asked += [(f"distance_{value:g}", {"distance": value}) for value in DISTANCES]
    asked += [(f"emotion_{value}", {"emotion": value}) for value in EMOTIONS[1:]]
    return [
        Job(
            name=f"{clip.name}_{label}",
            row=SWEEP,
            image=f"portraits/{clip.name}.png",
            audio=f"audio/{clip.name}.wav",
            seed=run.seed,
            framed=bool(clip.truth),
            group=f"{clip.name}_{label}",
            **values,
        )
        for label, values in asked
    ]
