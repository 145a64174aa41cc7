"""Your own minute: one consenting person's video becomes a checkpoint that speaks as they do.

The bundled face space and motion model stay as they are, to the byte; beside them comes
``person.safetensors``: some frames of the video, and a small network that was trained to make the others of
them. The end of the video is never learned from: what the card says was measured on it.
"""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from torch import Tensor, nn

from vasa.checkpoint import atomic_path, load_into, load_weights, save_weights
from vasa.data.person_video import PersonVideo, ReadFine, ReadVideo
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.person import PERSON_FILE, Person
from vasa.pretrained.judges import Judges
from vasa.pretrained.landmarks import LandmarkNet
from vasa.pretrained.registry import path_of
from vasa.training.loop import train
from vasa.training.personalise_card import card, write_sheet
from vasa.training.personalise_config import PersonaliseRun
from vasa.training.personalise_frames import build_person, check_one_person, choose_kept, look_at, settle
from vasa.training.personalise_plan import Clock, Plan
from vasa.training.personalise_scores import Scores, measure
from vasa.training.personalise_step import Draw, PersonStep, Seen, draw
from vasa.training.phase import Phase
from vasa.training.runtime import Runtime, start

log = logging.getLogger(__name__)

PORTRAIT_FILE, SHEET_FILE, CARD_FILE = "portrait.png", "sheet.png", "README.md"
BUNDLE_FILE = "bundle.json"
"""What makes a folder a checkpoint, and so comes last."""
WORK, LEARNED_FILE, FRAMES_FILE = "run", "learned.safetensors", "frames.safetensors"
CORES = 2
"""Whose minutes the option counts."""
SPARE = 0.85
"""Of the time that is left, what learning is planned for; the rest measures and writes."""
MIN_STEPS, PROBES = 20, 3


def personalise(run: PersonaliseRun, read: ReadVideo, read_fine: ReadFine) -> Scores:
    """Makes the checkpoint ``run.out``; the same run again carries on. read, read_fine: preprocessing's.

    Raises: FileNotFoundError, ValueError, in one sentence, before anything is written, where the video, the
    folders or the options will not do.
    """
    clock = Clock()
    plan = Plan.of(run)
    spent = plan.wall_s, plan.cpu_s
    log.info("Learning the person in %s, whose consent you say you have.", run.video.name)
    runtime = start(run.loop)
    face_file = run.checkpoint / "face.safetensors"
    space = FaceAutoencoder.from_pretrained(face_file, runtime.device)
    judges = Judges.from_pretrained(run.judges, runtime.device)
    video = _video(run, plan, space.size, read, judges)
    landmarks = LandmarkNet.from_pretrained(path_of("landmarks", run.judges)).to(runtime.device)
    seen = look_at(video, space, landmarks, runtime.device)
    count = learned_count(len(seen), run.held_out)
    kept = choose_kept(seen[:count], run.person)
    side = max(min(run.person.size, 2 * int(video.side_px / 2)), space.size)
    fine = read_fine(run.video, video, kept, side)
    person = build_person(run.person, space, load_weights(face_file), seen[:count], kept, fine)
    learning = Learning(run, person, seen[:count], seen.numbers[kept])
    plan.steps = plan.steps or run.steps or learning.affordable(runtime, clock)

    def note_time() -> None:
        plan.wall_s, plan.cpu_s = (before + now for before, now in zip(spent, clock(), strict=True))
        plan.write(run)

    note_time()
    learning.learn(plan, runtime, note_time)
    scores = measure(space, person, video.frames[0], video.points, seen[count:], judges)
    note_time()
    _write(run, plan, person, scores)
    return scores


def learned_count(count: int, held_out: float) -> int:
    """How many of a video's first frames are learned from; at least two are left to measure on."""
    return min(int(count * (1 - held_out)), count - 2)


def _video(run: PersonaliseRun, plan: Plan, size: int, read: ReadVideo, judges: Judges) -> PersonVideo:
    """The video's crops, from the folder where it has them already."""
    stored = run.out / WORK / FRAMES_FILE
    key = {"video": plan.video_sha256, "size": size, "max_seconds": run.max_seconds}
    video = PersonVideo.read(stored, key)
    if video is None:
        video = read(run.video, size)
        check_one_person(run.video.name, video, judges, run.same_person)
        plan.write(run)
        video.write(stored, key)
    log.info("%d frames of one face, %.0f px wide.", len(video), video.side_px)
    return video


@dataclass(slots=True)
class Learning:
    """Trains a person's refiner and encoders on ``seen``. kept: when the kept frames were."""

    run: PersonaliseRun
    person: Person
    seen: Seen
    kept: Tensor

    def affordable(self, runtime: Runtime, clock: Clock) -> int:
        """Steps that fit into what is left of ``run.minutes``, by what a few cost here."""
        run, on_cpu = self.run, runtime.device.type == "cpu"
        step, begun = PersonStep(copy.deepcopy(self.person), self.seen, run.losses), 0.0
        for number in range(PROBES + 1):
            if number == 1:  # the first one warms up
                begun = clock()[on_cpu]
            total = step(runtime.to_device(self.batch_at(number)), number)["total"]
            total.backward()
            total.item()  # waits for a GPU
        cost = max((clock()[on_cpu] - begun) / PROBES, 1e-4)
        left = run.minutes * 60 * (CORES if on_cpu else 1) - clock()[on_cpu]
        steps = max(MIN_STEPS, min(run.max_steps, int(SPARE * left / cost)))
        log.info("A step takes %.2f s of %s; %d steps.", cost, "a CPU" if on_cpu else "the GPU", steps)
        return steps

    def batch_at(self, step: int) -> Draw:
        loop = self.run.loop
        numbers, kept = self.seen.numbers.cpu(), self.kept.cpu()
        return draw(step, loop.batch_size, numbers, kept, self.run.drop, loop.seed)

    def learn(self, plan: Plan, runtime: Runtime, note_time: Callable[[], None]) -> None:
        """Trains to ``plan.steps`` and leaves the averaged weights in the person."""
        run, person, work = self.run, self.person, self.run.out / WORK
        names = ("refiner", "pose_encoder", "dynamics_encoder")
        learned = nn.ModuleDict({name: person.get_submodule(name) for name in names})

        def export(done: int, averages: Mapping[str, nn.Module]) -> Path:
            note_time()
            save_weights(work / LEARNED_FILE, averages["person"].state_dict(), {}, {"step": done})
            return work / LEARNED_FILE

        train(
            replace(run.loop, steps=plan.steps),
            [Phase("person", learned, PersonStep(person, self.seen, run.losses), run.optimizer)],
            self.batch_at,
            work,
            ema={"person": learned},
            export=export,
            config=plan.options,
            runtime=runtime,
        )
        load_into(learned, load_weights(work / LEARNED_FILE), "what was learned")
        settle(person)


def _write(run: PersonaliseRun, plan: Plan, person: Person, scores: Scores) -> None:
    """The checkpoint's files. bundle.json comes last: a folder without it is no checkpoint."""
    meta = {"video_sha256": plan.video_sha256, "steps": plan.steps, **scores.numbers()}
    save_weights(run.out / PERSON_FILE, person.state_dict(), person.describe(), meta)
    with atomic_path(run.out / PORTRAIT_FILE) as temporary:
        Image.fromarray(person.picture).save(temporary)
    write_sheet(run.out / SHEET_FILE, scores)
    with atomic_path(run.out / CARD_FILE) as temporary:
        temporary.write_text(card(run, plan, person, scores), encoding="utf-8")
    for file in [*sorted(run.checkpoint.glob("*.safetensors")), run.checkpoint / BUNDLE_FILE]:
        with atomic_path(run.out / file.name) as temporary:
            shutil.copyfile(file, temporary)
    log.info(
        "%s speaks as them now: %.2f dB on unseen frames, %+.2f over copying, %+.2f over the checkpoint as "
        "it was.",
        run.out,
        scores.adapted_db,
        scores.adapted_db - scores.copied_db,
        scores.adapted_db - scores.unadapted_db,
    )
