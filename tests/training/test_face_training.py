"""Stage 1 learns, resumes bitwise, and its terms send their gradients where they should."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import yaml

from vasa.checkpoint import CheckpointError, load_weights, save_weights
from vasa.config import CONFIGS, ROOT, load
from vasa.data.config import FramePairsConfig
from vasa.data.frame_pairs import FramePairs
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.losses.config import FaceLossConfig
from vasa.metrics.video import psnr
from vasa.training.driver_augment import colour_jitter, to_float
from vasa.training.face_report import sheet
from vasa.training.face_step import FaceStep
from vasa.training.train_face import train_face

TINY = yaml.safe_load((CONFIGS / "face" / "tiny.yaml").read_text())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def pairs(cache):
    found = FramePairs(
        FramePairsConfig(cache=cache, num_identities=16, frames=4, size=64, randomised_share=0.0)
    )
    found.prepare()
    return found


def build(**changes):
    torch.manual_seed(0)
    return FaceAutoencoder(FaceConfig(**{**TINY, **changes}))


def test_total_is_the_sum_of_the_weighted_terms(pairs):
    losses = FaceStep(build(), FaceLossConfig())(pairs.batch_at(0, 4), 0)
    terms = [value for name, value in losses.items() if name != "total" and not name.startswith("raw_")]
    torch.testing.assert_close(losses["total"], torch.stack(terms).sum())
    assert {
        "l1",
        "gradient",
        "warped",
        "flow",
        "mask",
        "pose",
        "controls",
        "landmarks",
        "cycle",
        "consistency",
    } <= set(losses)


def test_encoder_steps_train_the_encoders_alone(pairs):
    model = build()
    FaceStep(model, FaceLossConfig(encoder_steps=5))(pairs.batch_at(0, 2), 4)["total"].backward()
    assert model.decoder.out.weight.grad is None
    assert model.pose_encoder.head.weight.grad.abs().sum() > 0
    assert model.dynamics_encoder.body.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("term", ["l1", "gradient", "flow", "mask", "consistency", "cycle"])
def test_each_picture_term_reaches_the_decoder(pairs, term):
    model = build()
    # past the start, where the mask's sides still cancel
    torch.nn.init.normal_(model.decoder.out.weight, std=0.05)
    losses = FaceStep(model, FaceLossConfig(cycle=0.1))(pairs.batch_at(0, 4), 0)
    losses[f"raw_{term}"].backward()
    assert model.decoder.out.weight.grad.abs().sum() > 0
    assert model.decoder.out.weight.grad.isfinite().all()


def test_true_controls_are_what_the_decoder_is_told(pairs, monkeypatch):
    model, batch, told = build(), pairs.batch_at(0, 4), []
    losses = FaceLossConfig(true_controls_share=0.5, cycle=0.0, transfer_every=1, transfer_share=0.25)
    decode = model.decode

    def listening(appearance, pose, dynamics, **options):
        told.append((appearance.dynamics, dynamics))
        return decode(appearance, pose, dynamics, **options)

    monkeypatch.setattr(model, "decode", listening)
    terms = FaceStep(model, losses)(batch, 1)
    (source, target), (_, swapped) = told
    torch.testing.assert_close(swapped[:1], source[:1])  # what is swapped is what is shown
    read = model.dynamics_encoder.controls
    torch.testing.assert_close(read(source)[:2], batch.source_controls[:2], atol=1e-4, rtol=0)
    torch.testing.assert_close(read(target)[:2], batch.target_controls[:2], atol=1e-4, rtol=0)
    assert (read(target)[2:] - batch.target_controls[2:]).abs().max() > 0.1  # the encoder's own
    # off the labelled directions nothing tells of the target
    moved = model.dynamics_encoder.set_controls(target[:2], batch.source_controls[:2])
    torch.testing.assert_close(moved, source[:2], atol=1e-4, rtol=0)
    assert float(terms["raw_controls"]) > 0  # the encoder is still held to the truth


def test_labels_do_not_touch_the_decoder(pairs):
    model = build()
    losses = FaceStep(model, FaceLossConfig())(pairs.batch_at(0, 2), 1)
    (losses["raw_pose"] + losses["raw_controls"]).backward()
    assert all(p.grad is None for p in model.decoder.parameters())


def test_overfits_four_frames(pairs):
    batch = replace(pairs.batch_at(0, 4), jitter=torch.zeros(4, 2, 7))
    model = build()
    step = FaceStep(model, FaceLossConfig(consistency=0.0, cycle=0.0, geometry_gradient=False))
    adam = torch.optim.AdamW(model.parameters(), 3e-3)
    source, target = to_float(batch.source), to_float(batch.target)
    copied = psnr(source, target).mean()
    for number in range(100):
        adam.zero_grad(set_to_none=True)
        step(batch, number)["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    with torch.no_grad():
        pose, dynamics = model.motion_codes(torch.cat([source, to_float(batch.driver)]))
        appearance = model.encode_with(source, source, pose[:4], dynamics[:4])
        reached = psnr(model.decode(appearance, pose[4:], dynamics[4:]).image, target).mean()
    assert reached > copied + 2  # after 100 steps; 6.2 dB after 150


def test_colour_jitter_of_zero_changes_nothing_and_of_one_does():
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(
        colour_jitter(images, torch.zeros(2, 7)), images.clamp(-1 + 2e-4, 1), atol=1e-3, rtol=0
    )
    assert (colour_jitter(images, torch.full((2, 7), 0.3)) - images).abs().mean() > 0.05


def test_sheet_has_a_row_for_each_kind(pairs):
    batch = replace(pairs.batch_at(0, 3), jitter=torch.zeros(3, 2, 7))
    with torch.no_grad():
        assert sheet(build().eval(), batch).shape == (8 * 64, 3 * 64, 3)


def command(run_dir, cache, steps):
    return [
        "face=tiny", "run=smoke", f"run_dir={run_dir}", f"pairs.cache={cache}", "pairs.size=64",
        "pairs.frames=4",
        "pairs.num_identities=16", "pairs.randomised_share=0", "validation_identities=16",
        "validation_batches=1",
        f"loop.steps={steps}", "loop.save_every=2", "loop.keep_states=9", "losses.transfer_every=2",
    ]  # fmt: skip


@pytest.mark.timeout(1200)
def test_resume_equals_uninterrupted_also_after_kill(cache, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_face(load("train_face", command(whole, cache, 6)))
    child = [sys.executable, str(ROOT / "scripts" / "train_face.py"), *command(killed, cache, 6)]
    process = subprocess.Popen(child, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 600
    while not (killed / "state_00000002.safetensors").exists():
        assert process.poll() is None or process.returncode == 0
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for path in killed.glob("state_0000000[46].safetensors"):
        path.unlink()  # however far it came, carry on from step 2
    train_face(load("train_face", command(killed, cache, 6)))
    first, second = (load_weights(folder / "face.safetensors").tensors for folder in (whole, killed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_canary_of_codes_that_are_not_trained_is_refused_at_once():
    with pytest.raises(
        ValueError, match=r"judges face/raw_change at step 2000, .*change_steps=0 ends before"
    ):
        load("train_face", ["experiment=label_free", "losses.change_steps=0"])
    short = load("train_face", ["experiment=label_free", "losses.change_steps=1900", "loop.steps=1999"])
    assert [canary.step for canary in short.loop.canaries] == [2000, 2000]


def test_init_starts_from_other_weights(cache, tmp_path):
    start = train_face(load("train_face", command(tmp_path / "a", cache, 2)))
    again = train_face(
        load("train_face", [*command(tmp_path / "b", cache, 1), f"init={start}", "optimizer.learning_rate=0"])
    )
    before, after = load_weights(start), load_weights(again)
    assert after.meta["init"] == "face.safetensors"
    name = "decoder.out.weight"
    torch.testing.assert_close(after.tensors[name], before.tensors[name])


def test_all_that_is_missing_is_told_at_once_with_its_cure(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    missing = tmp_path / "none.safetensors"
    given = [
        f"init={missing}",
        f"init_pose={missing}",
        f"clips.root={tmp_path}",
        f"run_dir={tmp_path / 'run'}",
    ]
    with pytest.raises(FileNotFoundError) as error:
        train_face(load("train_face", ["experiment=voxceleb2", "face=tiny", "low_steps=0", *given]))
    for words in (
        f"init={missing} does not exist; train it",
        f"init_pose={missing} does not exist; `python scripts/train_face.py experiment=pose_teacher`",
        f"clips.root={tmp_path} has no manifest.parquet; `python scripts/preprocess.py",
        "weights.py action=fetch names=[",
    ):
        assert words in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_pose_encoder_of_another_size_is_told_in_one_sentence(cache, tmp_path):
    other = FaceAutoencoder(FaceConfig(**{**TINY, "pose_widths": [8, 12, 20]}))
    path = tmp_path / "face.safetensors"
    save_weights(path, other.state_dict(), other.describe(), {})
    message = (
        r"pose_widths \[8, 12, 20\], wanted \[8, 12, 16\]; .*experiment=pose_teacher face=\.\.\.` trains one"
    )
    with pytest.raises(CheckpointError, match=message):
        train_face(load("train_face", [*command(tmp_path / "run", cache, 1), f"init_pose={path}"]))
