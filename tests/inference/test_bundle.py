"""Two runs become one folder that inference loads; what does not belong together or is damaged is refused."""

import json

import numpy as np
import pytest

from vasa.checkpoint import CheckpointError, content_hash, load_weights, save_weights
from vasa.face.config import MOTION_ENCODERS
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun
from vasa.inference.pipeline import TalkingFace
from vasa.pretrained.config import DetectorConfig


@pytest.fixture(scope="module")
def runs(tiny_runs):
    return tiny_runs


@pytest.fixture
def bundled(runs, tmp_path):
    return bundle(BundleRun(face=runs, motion=runs / "motion.safetensors", output=tmp_path / "demo"))


def load(folder):
    return TalkingFace.from_pretrained(folder, "cpu", DetectorConfig(landmarks=None))


def test_a_bundle_speaks(bundled, drawn_face):
    face = load(bundled)
    waveform = np.sin(np.arange(16_000) / 7).astype(np.float32)
    frames = list(face.generate(drawn_face, waveform, 16_000, allow_centre_crop=True, emotion="happy"))
    assert len(frames) == 25
    assert frames[0].shape[0] == frames[0].shape[1] >= face.face.size
    again = list(face.generate(drawn_face, waveform, 16_000, allow_centre_crop=True, emotion="happy"))
    assert all((a == b).all() for a, b in zip(frames, again, strict=True))


def test_notes_stand_in_the_card(runs, tmp_path):
    run = BundleRun(face=runs, motion=runs / "motion.safetensors", output=tmp_path / "noted")
    run.notes = "Trained on a Sunday."
    folder = bundle(run)
    assert "Trained on a Sunday." in (folder / "README.md").read_text()


def test_a_bundle_holds_half_precision_its_facts_and_a_card(bundled, runs):
    assert sorted(path.name for path in bundled.iterdir()) == [
        "README.md",
        "bundle.json",
        "face.safetensors",
        "motion.safetensors",
    ]
    facts = json.loads((bundled / "bundle.json").read_text())
    assert facts["face_sha256"] == content_hash(bundled / "face.safetensors")
    assert facts["trained_encoders_sha256"] == content_hash(runs / "face.safetensors", MOTION_ENCODERS)
    assert (bundled / "face.safetensors").stat().st_size < 0.75 * (runs / "face.safetensors").stat().st_size
    card = (bundled / "README.md").read_text()
    assert "| steps | 10 | 20 |" in card
    assert "None were measured" in card


def test_the_card_shows_measured_numbers(runs, tmp_path):
    (tmp_path / "r.json").write_text(json.dumps([{"measure": "PSNR", "reached": 23.456, "wanted": 7}]))
    folder = bundle(BundleRun(face=runs, motion=runs, output=tmp_path / "demo", results=tmp_path / "r.json"))
    assert "| PSNR | 23.46 | 7 |" in (folder / "README.md").read_text()


def test_a_face_that_was_trained_on_from_a_bundle_takes_the_bundles_motion_model(bundled, tmp_path):
    halves = load_weights(bundled / "face.safetensors")
    learned = {  # in single precision again, and all but the motion encoders moved
        name: tensor.float() if name.startswith(MOTION_ENCODERS) else tensor.float() + 0.01
        for name, tensor in halves.tensors.items()
    }
    save_weights(tmp_path / "face.safetensors", learned, halves.config, {})
    folder = bundle(BundleRun(face=tmp_path, motion=bundled, output=tmp_path / "again"))
    assert load(folder).motion.face_hash == load(bundled).motion.face_hash
    assert content_hash(folder / "face.safetensors") != content_hash(bundled / "face.safetensors")


def test_a_motion_model_of_another_face_is_refused(runs, tmp_path):
    face = load_weights(runs / "face.safetensors")
    changed = {
        name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in face.tensors.items()
    }
    save_weights(tmp_path / "face.safetensors", changed, face.config, {})
    with pytest.raises(
        CheckpointError, match="trained on the motion of face .* encode the motion with this face"
    ):
        bundle(BundleRun(face=tmp_path, motion=runs, output=tmp_path / "demo"))
    assert not (tmp_path / "demo").exists()


def test_a_swapped_face_in_a_bundle_is_refused(bundled, runs):
    (bundled / "face.safetensors").write_bytes((runs / "face.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="belongs to motion encoders"):
        load(bundled)


def test_too_large_a_bundle_is_refused_and_the_old_one_stays(bundled, runs):
    before = {path.name: path.read_bytes() for path in bundled.iterdir()}
    with pytest.raises(ValueError, match=r"wanted at most max_megabytes=0.01"):
        bundle(BundleRun(face=runs, motion=runs, output=bundled, max_megabytes=0.01))
    assert {path.name: path.read_bytes() for path in bundled.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: (d / "bundle.json").write_text('{"format": 99}'), "format 99, this vasa reads 1"),
        (lambda d: (d / "bundle.json").write_text("{"), "bundle.json is damaged"),
        (lambda d: (d / "bundle.json").unlink(), "has no bundle.json"),
        (lambda d: (d / "motion.safetensors").unlink(), "does not exist"),
        (lambda d: (d / "face.safetensors").write_bytes(b"x" * 100), "is not a checkpoint or is damaged"),
    ],
)
def test_damaged_folders_are_refused_in_one_sentence(bundled, change, words):
    change(bundled)
    with pytest.raises((CheckpointError, FileNotFoundError), match=words) as caught:
        load(bundled)
    assert "\n" not in str(caught.value)


def test_missing_runs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="face.safetensors does not exist"):
        bundle(BundleRun(face=tmp_path, motion=tmp_path, output=tmp_path / "demo"))


@pytest.fixture
def student(runs, tmp_path):
    """A run folder of what passes for a student of the tiny motion model."""
    teacher = load_weights(runs / "motion.safetensors")
    motion = {**teacher.config["motion"], "sampler": {"name": "ddim", "steps": 2}}
    motion["sampler"] |= {"baked": True, "guidance": {"audio": 0.5}}
    folder = tmp_path / "student"
    folder.mkdir()
    config = {**teacher.config, "motion": motion}
    save_weights(folder / "motion.safetensors", teacher.tensors, config, {"model": "motion", "steps": 7})
    return folder


def test_a_student_travels_with_its_teacher_and_makes_the_motion_when_asked(
    runs, student, tmp_path, drawn_face
):
    run = BundleRun(face=runs, motion=runs / "motion.safetensors", student=student, output=tmp_path / "both")
    folder = bundle(run)
    assert "2 evaluations a window" in (folder / "README.md").read_text()
    slow = load(folder)
    fast = TalkingFace.from_pretrained(folder, "cpu", DetectorConfig(landmarks=None), fast=True)
    assert (slow.motion.config.sampler.baked, fast.motion.config.sampler.baked) == (False, True)
    assert fast.checkpoint["motion_sha256"] == fast.checkpoint["student_sha256"]
    waveform = np.sin(np.arange(8_000) / 7).astype(np.float32)
    assert len(list(fast.generate(drawn_face, waveform, 16_000, allow_centre_crop=True))) == 13
    with pytest.raises(ValueError, match="learned to make in 2 steps"):
        fast.generate(drawn_face, waveform, 16_000, allow_centre_crop=True, steps=9)
    bundle(BundleRun(face=runs, motion=runs / "motion.safetensors", output=folder))
    with pytest.raises(FileNotFoundError, match="fast=true"):
        TalkingFace.from_pretrained(folder, "cpu", DetectorConfig(landmarks=None), fast=True)


def test_what_is_no_student_is_not_bundled_as_one(runs, tmp_path):
    motion = runs / "motion.safetensors"
    with pytest.raises(CheckpointError, match="no student"):
        bundle(BundleRun(face=runs, motion=motion, student=motion, output=tmp_path / "both"))
