"""How much of one region's motion is seen in the others: what ``scripts/region_leak.py`` measures.

Synthetic people of the test split speak; then one region of the face comes from another performance, in
another mood. Judges that no training knows say what changed, frame by frame, in shares of what each control
can do. What they see elsewhere is leak of the face space and error of the judges together: a mouth that
smiles does lift the cheeks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasa.data.config import TrialsConfig
from vasa.data.trials import portrait_of, spoken_clips
from vasa.inference.config import RegionLeakRun
from vasa.inference.controls import conditions
from vasa.inference.generation import Portrait
from vasa.inference.pipeline import TalkingFace
from vasa.inference.regions import REGION_CONTROLS, Endless, Regions
from vasa.inference.retarget import Retargeter
from vasa.preprocess.align import whole_frame
from vasa.pretrained.judges import Judges
from vasa.progress import counted
from vasa.records import AUDIO_HZ, CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW

MOODS = ("happy", "sad", "surprise", "anger")
ANGLE_RANGE_RAD = math.radians(40)
"""Of each of the head's angles: 20 degrees either way."""


def region_leak(run: RegionLeakRun, face: TalkingFace | None = None) -> str:
    """A table in Markdown: rows, the region that was changed; columns, where a change is seen, in % of range.

    Raises: FileNotFoundError, CheckpointError.
    """
    torch.set_num_threads(run.threads)
    face = face or TalkingFace.from_pretrained(run.checkpoint, run.device)
    judges = Judges.from_pretrained(run.judges, face.device)
    seen = torch.stack(
        [_of_person(run, face, judges, n) for n in counted("people", range(run.num_people))]
    ).mean(0)
    return _table([*REGION_CONTROLS, "head"], seen)


@torch.inference_mode()
def _of_person(run: RegionLeakRun, face: TalkingFace, judges: Judges, number: int) -> Tensor:
    """(regions changed, regions seen): mean change of one person's frames, in shares of range."""
    portrait = _portrait(run, face, number)
    first, second = (_motion(run, face, portrait, n) for n in (number, number + 1))
    before = _seen(face, judges, portrait, first)
    rows = []
    for region in (*REGION_CONTROLS, "head"):
        changed = Regions(face.face, {region: Endless(iter([second]))})(first, 0)
        rows.append((_seen(face, judges, portrait, changed) - before).abs().mean(0))
    groups = [[CONTROL_INDEX[name] for name in names] for names in REGION_CONTROLS.values()]
    groups.append(list(range(len(CONTROL_LOW), len(CONTROL_LOW) + 3)))
    return torch.stack([torch.stack([row[group].mean() for group in groups]) for row in rows])


def _portrait(run: RegionLeakRun, face: TalkingFace, number: int) -> Portrait:
    size = face.face.size
    picture = portrait_of(run.first_person + number, TrialsConfig(size=size)).permute(1, 2, 0).numpy()
    return face.prepare(picture, size, known=whole_frame(picture, size))


def _motion(run: RegionLeakRun, face: TalkingFace, portrait: Portrait, number: int) -> Tensor:
    """Raw motion (T, E) of a clip in a mood, as this portrait's; of every second frame."""
    audio = spoken_clips(TrialsConfig(clip_seconds=run.seconds)).animation_only(number).audio
    wanted = conditions(0, 0, 1, MOODS[number % len(MOODS)])
    made = torch.cat(list(face.speak(audio, AUDIO_HZ, wanted, seed=number))).to(face.device)
    return Retargeter(face.face, portrait.motion)(made)[::2]


def _seen(face: TalkingFace, judges: Judges, portrait: Portrait, motion: Tensor) -> Tensor:
    """What judges see in the frames: (T, 11 + 3) controls and head angles in shares of their ranges."""
    parts = [face.face.render(portrait.appearance, part).float() for part in motion.split(8)]
    seen = judges.measure(torch.cat(parts))
    span = torch.tensor(CONTROL_HIGH) - torch.tensor(CONTROL_LOW)
    return torch.cat([seen.controls / span, seen.pose[:, :3] / ANGLE_RANGE_RAD], 1)


def _table(names: list[str], seen: Tensor) -> str:
    head = f"| changed | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}\n"
    rows = [
        f"| {name} | {' | '.join(f'{100 * float(value):.1f} %' for value in row)} |"
        for name, row in zip(names, seen, strict=True)
    ]
    return head + "\n".join(rows) + "\n"
