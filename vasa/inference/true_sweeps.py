"""Sweeps of synthetic people as a perfect model would make them: what judges say of these videos is the
judges' own error, leak and blindness.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.dynamics import main_direction
from vasa.data.trials import portrait_animation
from vasa.inference.config import SWEEPS, MakeJobsRun, VideoOptions
from vasa.inference.controls import emotion_weights
from vasa.inference.eval_sidecar import JOB_ENDING
from vasa.inference.follow import GAZE, limited
from vasa.inference.head_edits import TURNS, turned
from vasa.inference.jobs import Job
from vasa.inference.list_files import (
    Material,
    clip_name,
    clips_config,
    write_job_file,
    write_picture,
    write_video,
)
from vasa.inference.sweeps import rows, steps
from vasa.records import POSE_NAMES, SAMPLES_PER_FRAME, Animation, MotionLayout

TRUE_ROW = "true_controls"
TRUE_EVERY = 4
"""Frames of a clip for one that is rendered: what is judged are means and the main gaze of a clip."""
_NOTHING = {name: getattr(VideoOptions(), name) for name in SWEEPS if name not in ("blink_rate", "emotion")}
"""What is asked of a video for which nothing is asked, as the job files of made ones have it too: no mood."""
_POSE = MotionLayout.volumetric(0)


def swept(run: MakeJobsRun, clip: Material) -> list[Job]:
    """Every control of one clip at several values; of a synthetic person from a portrait at rest, with what
    a perfect model would make in the row of true ones.
    """
    if not clip.truth:
        return rows(clip.name, f"portraits/{clip.name}.png", run.seed, framed=False)
    portrait = f"portraits/{clip.name}_rest.png"
    jobs = rows(clip.name, portrait, run.seed, framed=True)
    clips, index = SyntheticClips("test", clips_config(run)), clip.truth["index"]
    for job, (_, asked) in zip(jobs, steps(), strict=True):
        content = {**_NOTHING, **asked, "name": job.name, "group": job.name, "framed": True}
        content["portrait"] = f"../{portrait}"
        write_job_file(run.output / TRUE_ROW / f"{job.name}{JOB_ENDING}", content)
    if not (run.output / portrait).is_file():
        frames, _ = clips.render(clips.animation_only(index).identity, resting(clips, index))
        write_picture(run.output / portrait, frames[0])
    return jobs


def render_true_sweeps(run: MakeJobsRun, part: int, parts: int) -> None:
    """A share of the videos of the row of true sweeps."""
    clips = SyntheticClips("test", clips_config(run))
    drawn = SyntheticClips("test", clips.config, quality="draft")  # as the judges learned from
    wanted = [(index, *step) for index in range(min(run.sweeps, run.num_clips)) for step in steps()]
    for index, label, asked in wanted[part::parts]:
        video = run.output / TRUE_ROW / f"{clip_name(index)}_{label}.mp4"
        if not video.is_file():
            person = clips.animation_only(index)
            frames, _ = drawn.render(person.identity, true_sweep(clips, index, asked)[::TRUE_EVERY])
            write_video(video, frames, person.audio[: len(frames) * SAMPLES_PER_FRAME])


def resting(clips: SyntheticClips, index: int) -> Animation:
    """How a clip's person looks in the portrait of its sweeps: in the pose of its portrait, at rest."""
    mild = portrait_animation(clips.animation_only(index).identity)
    return Animation(mild.pose, torch.zeros_like(mild.controls))


def true_sweep(clips: SyntheticClips, index: int, asked: dict[str, Any]) -> Animation:
    """What a person should do who says a clip's words and is asked for these controls: the clip's own
    animation in the asked mood, its main gaze, mean distance and mean turn brought to what is asked, relative
    to ``resting``.
    """
    mood = emotion_weights(asked.get("emotion", "neutral"))
    found = clips.animation_only(index, mood).truth.animation
    assert found is not None
    pose, controls = found.pose.clone(), found.controls.clone()
    home = resting(clips, index).pose
    gaze = np.radians([asked.get("gaze_yaw", 0.0), asked.get("gaze_pitch", 0.0)])
    controls[:, GAZE] += torch.from_numpy(gaze - main_direction(controls[:, GAZE].numpy())).float()
    wanted = torch.tensor([[math.radians(asked.get(name, 0.0)) for name in TURNS]])
    away = (pose - home)[:, _POSE.rotation].mean(0, keepdim=True)
    pose = turned(pose, (wanted - away).expand(len(pose), -1), _POSE)
    near = POSE_NAMES.index("log_scale")
    nearness = float(pose[:, near].neg().exp().mean() / home[0, near].neg().exp())
    pose[:, near] -= math.log(asked.get("distance", 1.0) / nearness)
    return Animation(pose, limited(controls))
