"""Lists of jobs that evaluations are made of: portraits, sounds and true videos in a folder, and the list.

Synthetic: test people who speak test sentences, with everything known about them. From a folder of real
clips: each spoken by its own first frame. Both with what a sceptic asks for: a portrait that stands still,
lips driven by another clip's speech, another clip's true motion under this sound, the untrained warp, and
sweeps of each control. Where the truth is known also reenactment, by oneself and by another person, and one's
own head under another's expression: each with its true frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

from vasa.audio import fit_length, read_audio, resample
from vasa.checkpoint import atomic_path, from_plain, plain
from vasa.data.config import ClipsConfig, TrialsConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.heads import make_identities
from vasa.data.trials import portrait_of, true_frames
from vasa.inference.config import MakeJobsRun
from vasa.inference.eval_sidecar import JOB_ENDING
from vasa.inference.jobs import Job, job_of, write_jobs
from vasa.inference.list_files import (
    REAL,
    Material,
    clip_name,
    clips_config,
    places,
    write_job_file,
    write_picture,
    write_video,
)
from vasa.inference.true_sweeps import render_true_sweeps, swept
from vasa.progress import counted
from vasa.records import AUDIO_HZ, SAMPLES_PER_FRAME, VIDEO_FPS, Animation
from vasa.video import VideoReader
from vasa.workers import share_work

log = logging.getLogger(__name__)

LIST = "jobs.jsonl"
VIDEO_KINDS = (".mp4", ".mov", ".webm", ".mkv", ".avi")
OURS, WARP, SHUFFLED, STILL, OTHER = (
    "vasa", "untrained_warp", "shuffled_audio", "still_portrait", "other_motion",
)  # fmt: skip
SELF, CROSS, SWAPPED = "self_reenactment", "cross_reenactment", "expression_swapped"
TRUE_FRAMES = "true_frames"
"""Folder of the frames that reenactment should have made; no row."""


def make_list(run: MakeJobsRun) -> Path:
    """Writes portraits, sounds, true and baseline videos and, last, the list. Returns its path.

    What is there already stays, so that a killed run goes on. Raises: FileNotFoundError, ValueError.
    """
    clips = list(_synthetic(run) if run.clips_from is None else _from_folder(run, run.clips_from))
    if len(clips) < 2:
        raise ValueError(f"{len(clips)} clip in the list; wanted at least 2: the controls need another clip.")
    jobs: list[Job] = []
    for index, clip in enumerate(clips if run.samples else ()):
        other = clips[index - 1]
        _still(run.output, clip.name)
        _under_other_sound(run.output, clip.name, other.name)
        for row in (REAL, STILL, OTHER):
            _stamp(run.output / row / f"{clip.name}{JOB_ENDING}", clip)
        jobs += _spoken(run, clip, other)
    known = [index for index, clip in enumerate(clips) if clip.truth][: run.reenactments]
    jobs += [job for index in known for job in _reenacted(run, clips[index], clips[index - 1])]
    jobs += [job for clip in clips[: run.sweeps] for job in swept(run, clip)]
    if run.clips_from is None:
        share_work(render_true_sweeps, run.workers, run)
        render_true_sweeps(run, 0, 1)
    write_jobs(run.output / LIST, jobs)
    log.info("%d clips, %d jobs: %s", len(clips), len(jobs), run.output / LIST)
    return run.output / LIST


# Clips


def _synthetic(run: MakeJobsRun) -> Iterator[Material]:
    """Test clips in portrait mode, rendered in full quality."""
    share_work(_render_part, run.workers, run)
    _render_part(run, 0, 1)
    config = clips_config(run)
    for index in range(run.num_clips):
        yield Material(clip_name(index), {"split": "test", "index": index, "clips": plain(config)})


def _render_part(run: MakeJobsRun, part: int, parts: int) -> None:
    """Every ``parts``-th clip that is not there yet."""
    clips = SyntheticClips("test", clips_config(run))
    own = range(part, run.num_clips, parts)
    for index in counted("clips", [index for index in own if not _is_there(run.output, clip_name(index))]):
        clip = clips[index]
        assert clip.frames is not None
        portrait = portrait_of(clip.identity, TrialsConfig(size=run.size))
        _write(run.output, clip_name(index), portrait.permute(1, 2, 0).numpy(), clip.frames, clip.audio)


def _from_folder(run: MakeJobsRun, folder: Path) -> Iterator[Material]:
    """Real clips with sound, drawn by seed; the portrait is the first frame."""
    if not folder.is_dir():
        raise FileNotFoundError(f"clips_from={folder} is no folder; give one with videos that have sound.")
    for path in counted("clips", _drawn(run, folder)):
        name = "_".join(path.relative_to(folder).with_suffix("").parts)
        if not _is_there(run.output, name):
            audio = resample(*read_audio(path), AUDIO_HZ)
            frames = [f.copy() for f in VideoReader(path).resampled(stop=round(run.seconds * VIDEO_FPS))]
            sound = fit_length(audio, len(frames) * SAMPLES_PER_FRAME)
            _write(run.output, name, frames[0], np.stack(frames), sound)
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


def _is_there(folder: Path, name: str) -> bool:
    return all(path.is_file() for path in places(folder, name))


def _write(folder: Path, name: str, portrait: np.ndarray, frames: np.ndarray, audio: np.ndarray) -> None:
    picture, sound, video = places(folder, name)
    write_picture(picture, portrait)
    with atomic_path(sound) as temporary:
        soundfile.write(temporary, audio, AUDIO_HZ, subtype="PCM_16", format="WAV")
    write_video(video, frames, audio)


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
    write_job_file(path, content)


# Controls that need no generator


def _still(folder: Path, name: str) -> None:
    """The portrait, as long as the sound."""
    picture, sound, _ = places(folder, name)
    video = folder / STILL / f"{name}.mp4"
    if video.is_file():
        return
    audio, _ = read_audio(sound)
    with Image.open(picture) as portrait:
        frame = np.asarray(portrait.convert("RGB"))
    write_video(video, np.broadcast_to(frame, (len(audio) // SAMPLES_PER_FRAME, *frame.shape)), audio)


def _under_other_sound(folder: Path, name: str, other: str) -> None:
    """The other clip's true video under this clip's sound."""
    video = folder / OTHER / f"{name}.mp4"
    if video.is_file():
        return
    audio, _ = read_audio(places(folder, name)[1])
    frames = np.stack([frame.copy() for frame in VideoReader(places(folder, other)[2]).resampled()])
    wanted = np.arange(len(audio) // SAMPLES_PER_FRAME) % len(frames)
    write_video(video, frames[wanted], audio)


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
        job_of(
            {"name": f"{clip.name}_{seed}", "row": row, "seed": run.seed + seed, **common, **_options(given)}
        )
        for row, given in {OURS: [], **run.variants}.items()
        for seed in range(run.samples)
    ]
    if not run.baselines:
        return ours
    return [
        *ours,
        job_of(name=clip.name, row=WARP, seed=run.seed, learned=False, **common),
        job_of(name=clip.name, row=SHUFFLED, seed=run.seed, driven_by=f"audio/{other.name}.wav", **common),
    ]


def _options(given: list[str]) -> dict[str, str]:
    """Options of infer.py, name=value, by name. Raises: ValueError."""
    named = [text.partition("=") for text in given]
    if wrong := next((text for text, (_, equals, _) in zip(given, named, strict=True) if not equals), None):
        raise ValueError(f"variants name the option {wrong!r}; wanted name=value, such as steps=5.")
    return {name: value for name, _, value in named}


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
        job = job_of(
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
    write_video(video, frames, read_audio(sound)[0][: length * SAMPLES_PER_FRAME])
