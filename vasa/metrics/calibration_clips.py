"""Clips with known faults as rows of videos, for the evaluation to measure like anybody's.

Every clip is there once without a fault, which is the row ``real`` and everybody's reference, and once for
each fault and dose. All go through one writer, without loss beyond the halved colour resolution of the
format, so that coding is no fault of its own; the sound that is measured lies beside them as PCM, the one in
the files is for the ear.
"""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from PIL import Image

from vasa.checkpoint import atomic_path, plain
from vasa.data.config import ClipsConfig, SpokenConfig, TrialsConfig
from vasa.data.judge_pools import claim
from vasa.data.synthetic.clips import SyntheticClips
from vasa.data.synthetic.config import DosesConfig
from vasa.data.synthetic.faults import FAULTS, FaultyClips
from vasa.data.trials import portrait_of
from vasa.metrics.config import CalibrateRun
from vasa.metrics.sources import JOB_ENDING, REAL_ROW, ClipFiles, find_rows
from vasa.records import AUDIO_HZ, EMOTIONS, VIDEO_FPS, Clip
from vasa.video import VideoWriter

log = logging.getLogger(__name__)

SPLIT = "test"
LOSSLESS = 0
"""x264's crf. Players show it; browsers may not."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault at one dose: a row of videos, named after both."""

    fault: str
    dose: float

    @property
    def name(self) -> str:
        return f"{self.fault}_{self.dose:g}"


def fault_rows(doses: DosesConfig) -> list[FaultRow]:
    """All faults that have doses, each from its lowest dose to its highest."""
    return [FaultRow(fault, float(dose)) for fault in FAULTS for dose in sorted(set(getattr(doses, fault)))]


def clips_config(run: CalibrateRun) -> ClipsConfig:
    """The faultless clips of a run: people of the test split, in portrait mode, who all speak."""
    return ClipsConfig(
        num_clips=run.num_clips,
        seed=run.seed,
        seconds=run.seconds,
        size=run.size,
        quality=run.quality,
        spoken=SpokenConfig.possible(silent_share=0.0),
    )


def write_clips(run: CalibrateRun) -> dict[str, list[ClipFiles]]:
    """Rows of clips, ``real`` first; what is not there yet is rendered, so that a killed run goes on.

    Raises: ValueError where the folder holds clips of other options.
    """
    config, folder = clips_config(run), run.out / "clips"
    claim(folder, {name: value for name, value in plain(config).items() if name != "num_clips"})
    rows, faulty = fault_rows(run.doses), FaultyClips(SyntheticClips(SPLIT, config))
    names = [f"clip{index:03d}" for index in range(run.num_clips)]
    every: list[FaultRow | None] = [None, *rows]
    work = [
        (index, name, row)
        for index, name in enumerate(names)
        for row in every
        if not _is_there(folder, row, name)
    ]
    begun = time.monotonic()
    for done, (index, name, row) in enumerate(work, 1):
        clip = faulty.faultless(index) if row is None else faulty(index, row.fault, row.dose)
        _write(folder, name, row, clip, _truth(config, index))
        if done % 10 == 0 or done == len(work):
            left = (time.monotonic() - begun) / done * (len(work) - done)
            log.info("%d of %d videos rendered, %.0f s left", done, len(work), left)
    found = find_rows(folder / "videos")
    wanted = [REAL_ROW, *(row.name for row in rows)]
    return {name: [clip for clip in found[name] if clip.name in set(names)] for name in wanted}


def _truth(config: ClipsConfig, index: int) -> dict[str, Any]:
    """Names the faultless clip. num_clips is as small as can be, so that more clips change no file."""
    return {"split": SPLIT, "index": index, "clips": plain(config) | {"num_clips": index + 1}}


def _is_there(folder: Path, row: FaultRow | None, name: str) -> bool:
    """The job file is written last."""
    return (folder / "videos" / (row.name if row else REAL_ROW) / f"{name}{JOB_ENDING}").is_file()


def _write(folder: Path, name: str, row: FaultRow | None, clip: Clip, truth: dict[str, Any]) -> None:
    """A video, its sound, and last its job file; of the faultless row the portrait too."""
    assert clip.frames is not None
    place = folder / "videos" / (REAL_ROW if row is None else row.name)
    sound = f"audio/{row.name if row and row.fault == 'lag' else REAL_ROW}/{name}.wav"
    if row is None:
        portrait = portrait_of(clip.identity, TrialsConfig(size=clip.frames.shape[1]))
        with atomic_path(folder / f"portraits/{name}.png") as temporary:
            Image.fromarray(portrait.permute(1, 2, 0).numpy()).save(temporary, format="PNG")
    with atomic_path(folder / sound) as temporary:
        soundfile.write(temporary, clip.audio, AUDIO_HZ, subtype="PCM_16", format="WAV")
    height, width = clip.frames.shape[1:3]
    video = place / f"{name}.mp4"
    with VideoWriter(video, height, width, VIDEO_FPS, clip.audio, AUDIO_HZ, crf=LOSSLESS) as writer:
        for frame in clip.frames:
            writer.write(frame)
    job = {
        "name": name,
        "group": name,
        "fault": None if row is None else {"name": row.fault, "dose": row.dose},
        "portrait": f"../../portraits/{name}.png",
        "audio": f"../../{sound}",
        "reference": f"../{REAL_ROW}/{name}.mp4",
        "truth": truth,
        **_conditions(clip),
    }
    with atomic_path(place / f"{name}{JOB_ENDING}") as temporary:
        temporary.write_text(json.dumps(job, indent=1, ensure_ascii=False), encoding="utf-8")


def _conditions(clip: Clip) -> dict[str, Any]:
    """What holds in a clip, as if it had been asked for: names and units of inference/jobs.py."""
    assert clip.gaze is not None and clip.distance is not None and clip.emotion is not None
    return {
        "gaze_yaw": math.degrees(float(clip.gaze[0])),
        "gaze_pitch": math.degrees(float(clip.gaze[1])),
        "distance": float(clip.distance),
        "emotion": {name: float(w) for name, w in zip(EMOTIONS, clip.emotion, strict=True) if w > 0},
    }
