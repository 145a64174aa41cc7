"""One person's minute: what is learned, refused, carried on with, and left as it was."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from recordings import record, talk

from vasa.checkpoint import load_weights
from vasa.config import load
from vasa.face.volumetric.personal_face import PersonalFace, PersonAppearance
from vasa.inference.animate import Animator, animate
from vasa.inference.jobs import Job
from vasa.inference.pipeline import TalkingFace
from vasa.preprocess.person_video import PersonReader, read_fine
from vasa.training import personalise as module
from vasa.training.loop import Stopped
from vasa.training.personalise import personalise
from vasa.training.personalise_config import PersonaliseRun
from vasa.training.personalise_scores import Scores
from vasa.video import VideoReader

STEPS = 8


def scene(*people: np.ndarray, height: int = 160, width: int = 160) -> np.ndarray:
    """Frames (T, height, width, 3) that show people side by side on grey."""
    frames = np.full((len(people[0]), height, width, 3), 128, np.uint8)
    for place, shown in enumerate(people):
        left = (2 * place + 1) * width // (2 * len(people)) - 48
        frames[:, 32:128, left : left + 96] = shown
    return frames


def run_of(video: Path, out: Path, **more: Any) -> PersonaliseRun:
    """The shipped options, smaller."""
    words = {"person.frames": 12, "person.size": 128, "person.near": 2, "person.source_width": 8}
    words |= {"loop.batch_size": 2, "loop.save_every": 3, "loop.device": "cpu", "steps": STEPS, **more}
    given = [f"video={video}", f"out={out}", "consent=true", "person.widths=[8,12]"]
    return load("personalise", given + [f"{name}={value}" for name, value in words.items()])


def learn(run: PersonaliseRun) -> Scores:
    return personalise(run, PersonReader(run.detector, run.max_seconds), read_fine)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A procedural person talks for 2.4 seconds; the name has a space."""
    return record(tmp_path_factory.mktemp("videos") / "one person.mp4", scene(talk(0, 60)))


@pytest.fixture(scope="module")
def made(video: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scores]:
    out = tmp_path_factory.mktemp("people") / "someone"
    return out, learn(run_of(video, out))


def test_unseen_frames_are_better_than_the_checkpoint_made_them(made: tuple[Path, Scores]) -> None:
    _, scores = made
    assert len(scores.true) == 12  # a fifth of the video
    assert scores.adapted_db > scores.unadapted_db + 0.5
    assert scores.adapted_db > scores.copied_db + 2


def test_the_folder_is_a_checkpoint_whose_networks_are_the_bundled_ones(
    made: tuple[Path, Scores], root: Path
) -> None:
    out, scores = made
    for name in ("face.safetensors", "motion.safetensors", "motion_fast.safetensors", "bundle.json"):
        assert (out / name).read_bytes() == (root / "checkpoints/demo" / name).read_bytes()
    card = (out / "README.md").read_text()
    assert "consent" in card and f"{scores.adapted_db:.2f}" in card
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (6 * 260 + 4, 3 * 260 + 4)
    person = load_weights(out / "person.safetensors")
    assert person.tensors["frames"].shape == (12, 3, 128, 128)
    assert person.meta["psnr_adapted_db"] == round(scores.adapted_db, 2)


def test_it_speaks_as_the_person_and_shows_others_as_before(made: tuple[Path, Scores], root: Path) -> None:
    out, _ = made
    ours, theirs = (TalkingFace.from_pretrained(f, "cpu") for f in (out, root / "checkpoints/demo"))
    assert ours.person is not None and theirs.person is None
    portrait = ours.prepare(out / "portrait.png", 128, keep_expression=0.0)
    assert isinstance(portrait.appearance, PersonAppearance)
    still = ours.face.render(portrait.appearance, portrait.motion)
    shown = torch.from_numpy(portrait.picture.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    assert float((still - shown).abs().mean()) < 0.04  # of a range of 2: it looks like its portrait
    other = talk(1, 1)[0].repeat(2, 0).repeat(2, 1)
    a, b = (f.prepare(other, 128, allow_centre_crop=True) for f in (ours, theirs))
    motion = a.motion + 0.05
    assert torch.equal(ours.face.render(a.appearance, motion), theirs.face.render(b.appearance, motion))


def test_infer_without_an_image_shows_them_and_says_so(made: tuple[Path, Scores], tmp_path: Path) -> None:
    words = [
        f"checkpoint={made[0]}",
        f"output={tmp_path / 'me.mp4'}",
        "seconds=0.2",
        "size=128",
        "device=cpu",
    ]
    files = animate(load("infer", words))
    claimed = json.loads(files.provenance.read_text())
    assert claimed["inputs"]["image"]["made"] == "the portrait in the checkpoint"
    assert len(claimed["model"]["person_sha256"]) == 64
    portrait = np.asarray(Image.open(made[0] / "portrait.png")).astype(float)
    frames = [frame.astype(float) for frame in VideoReader(files.video)]
    assert len(frames) == 5
    assert np.abs(frames[0] - portrait).mean() < 12  # grey levels


def test_the_untrained_warp_of_their_portrait_is_a_baseline(
    made: tuple[Path, Scores], tmp_path: Path
) -> None:
    words = [f"checkpoint={made[0]}", "seconds=0.2", "size=128", "device=cpu"]
    config = load("infer", words)
    animator = Animator(TalkingFace.from_pretrained(made[0], "cpu"))
    learned = animator.make(config, tmp_path / "a.mp4", Job())
    untrained = animator.make(config, tmp_path / "b.mp4", Job(learned=False))
    assert isinstance(animator.face.face, PersonalFace)
    assert untrained.shown[0].shape == learned.shown[0].shape
    assert np.abs(untrained.shown[-1].astype(float) - learned.shown[-1]).mean() > 0.1  # grey levels
    asked = json.loads((tmp_path / "b.provenance.json").read_text())["request"]["asked"]
    assert asked == {"learned": False}  # as the row of a list says it, which is then not made again


def test_a_killed_run_carries_on_to_the_same_bits(
    made: tuple[Path, Scores], video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = made[0], run_of(video, tmp_path / "again")
    draws = module.Learning.batch_at

    def stopped(self: module.Learning, step: int) -> Any:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return draws(self, step)

    monkeypatch.setattr(module.Learning, "batch_at", stopped)
    with pytest.raises(Stopped):
        learn(replace(run, loop=replace(run.loop, prefetch=0)))
    assert not (run.out / "bundle.json").exists(), "half a person is no checkpoint"
    monkeypatch.undo()
    learn(run)
    ours, theirs = (load_weights(folder / "person.safetensors").tensors for folder in (run.out, out))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    spent = json.loads((run.out / "personalise.json").read_text())
    assert spent["steps"] == STEPS and spent["cpu_s"] > 0


def test_without_consent_nothing_is_done(video: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="consent is false.*add consent=true"):
        load("personalise", [f"video={video}", f"out={tmp_path / 'new'}"])


def test_a_folder_of_something_else_is_left_alone(
    made: tuple[Path, Scores], video: Path, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty .letter.txt.; name a new folder"):
        learn(run_of(video, tmp_path))
    other = record(tmp_path / "other.mp4", scene(talk(1, 30)))
    with pytest.raises(ValueError, match="is of another video, 'one person.mp4'"):
        learn(run_of(other, made[0]))
    with pytest.raises(ValueError, match="other options .*drop was 0.3, is 0.5"):
        learn(run_of(video, made[0], drop=0.5))
    with pytest.raises(ValueError, match="is already a person's"):
        learn(replace(run_of(video, tmp_path / "new"), checkpoint=made[0]))


def nobody(folder: Path) -> Path:
    return record(folder / "nobody.mp4", np.full((40, 96, 96, 3), 90, np.uint8))


def short(folder: Path) -> Path:
    return record(folder / "short.mp4", scene(talk(0, 20)))


def crowd(folder: Path) -> Path:
    return record(folder / "crowd.mp4", scene(talk(0, 30), talk(1, 30), width=320))


def another(folder: Path) -> Path:
    first, second = scene(talk(0, 30), width=320), scene(talk(1, 30), width=320)
    return record(folder / "cut.mp4", np.concatenate([np.roll(first, -70, 2), np.roll(second, 70, 2)]))


def exchanged(folder: Path) -> Path:
    """Another person takes the place."""
    return record(folder / "two.mp4", np.concatenate([scene(talk(0, 30)), scene(talk(1, 30))]))


def text(folder: Path) -> Path:
    (folder / "text.mp4").write_text("no video")
    return folder / "text.mp4"


def missing(folder: Path) -> Path:
    return folder / "missing.mp4"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nobody, "'nobody.mp4' shows no face in 8 of 8 looks; give one"),
        (short, "'short.mp4' lasts 0.8 s; wanted at least 1 s"),
        (crowd, "'crowd.mp4' shows two people in . of . looks; give one of the person alone"),
        (another, "'cut.mp4' jumps from one face to another at 1.2 s; give one uncut shot"),
        (exchanged, "'two.mp4' does not seem to show one person: a frame is like the others by"),
        (text, "text.mp4' cannot be opened as one"),
        (missing, "missing.mp4' does not exist; give the path"),
    ],
)
def test_what_shows_no_one_person_is_refused_in_a_sentence(make: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        learn(run_of(make(tmp_path), tmp_path / "new"))
    assert not (tmp_path / "new").exists() or not any((tmp_path / "new").iterdir())


def test_a_budget_of_time_decides_the_steps(
    made: tuple[Path, Scores], video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_STEPS", 3)
    run = run_of(video, tmp_path / "few", steps=0, minutes=0.001)
    learn(run)
    plan = json.loads((run.out / "personalise.json").read_text())
    assert plan["steps"] == module.MIN_STEPS


@pytest.mark.gpu
def test_on_a_gpu_it_learns_as_well(made: tuple[Path, Scores], video: Path, tmp_path: Path) -> None:
    scores = learn(run_of(video, tmp_path / "gpu", **{"loop.device": "cuda"}))
    assert abs(scores.adapted_db - made[1].adapted_db) < 0.5
