"""Stage 2 training: the loss, its draws, what it learns, bitwise resume, refusals, the report."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from motion_caches import DYNAMICS, FRAMES, A, make_cache, tiny_run

from vasa.checkpoint import load_weights
from vasa.config import load
from vasa.data.latent_cache import CacheError, LatentCache
from vasa.data.motion_windows import MotionWindows
from vasa.motion.config import MotionConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.transformer import MotionTransformer
from vasa.motion.windows import MotionGenerator
from vasa.training.motion_report import MotionReport, Tracks, track_scores
from vasa.training.motion_step import MotionBatch, MotionStep
from vasa.training.train_motion import train_motion


def tiny_step(cache: LatentCache, batch_size: int = 4) -> MotionStep:
    torch.manual_seed(0)
    config = tiny_run(cache.folder).motion
    model = MotionDiffusion(config, cache.header.layout, A)
    model.normalizer.set_statistics(cache.statistics)
    windows = MotionWindows(
        cache,
        window_frames=config.window_frames,
        history_frames=config.history_frames,
        batch_size=batch_size,
        seed=1,
    )
    return MotionStep(model, windows, seed=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> LatentCache:
    return make_cache(tmp_path_factory.mktemp("cache"))


def test_total_is_the_weighted_sum_of_the_raw_terms(cache: LatentCache) -> None:
    step = tiny_step(cache)
    losses = step.loss(step.batch_at(0), 0)
    weights = {"x0": 1.0, "pose_velocity": 1.0, "pose_acceleration": 4.0}  # configs/motion/tiny.yaml
    for name, weight in weights.items():
        torch.testing.assert_close(losses[f"weighted_{name}"], weight * losses[name])
    torch.testing.assert_close(losses["total"], sum(losses[f"weighted_{name}"] for name in weights))
    assert set(losses) == {"total", *weights, *(f"weighted_{name}" for name in weights)}


def test_draws_depend_on_the_position_and_not_on_the_batch(cache: LatentCache) -> None:
    whole = tiny_step(cache).batch_at(2)
    halves = [tiny_step(cache, batch_size=2).batch_at(step) for step in (4, 5)]
    for name in ("noise", "t", "uniform"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves]))
    assert whole.ids == [name for half in halves for name in half.ids]
    other = tiny_step(cache).batch_at(3)
    assert not torch.equal(whole.noise, other.noise) and not torch.equal(whole.uniform, other.uniform)


def test_diffusion_steps_and_noise_are_spread_as_they_should_be(cache: LatentCache) -> None:
    batch = tiny_step(cache, batch_size=1000).batch_at(0)
    assert int(batch.t.min()) < 20 and int(batch.t.max()) > 480
    assert abs(float(batch.t.float().mean()) - 249.5) < 4 * 145 / 1000**0.5  # standard errors of a uniform
    assert abs(float(batch.noise.std()) - 1) < 0.02 and abs(float(batch.noise.mean())) < 0.02
    assert float(batch.uniform.min()) >= 0 and float(batch.uniform.max()) < 1


def test_frames_outside_a_clip_give_no_gradient(tmp_path: Path) -> None:
    step = tiny_step(make_cache(tmp_path))
    batch = step.batch_at(0)
    batch.windows.valid[:, -4:] = False  # of ten frames, after four of history
    batch.noise.requires_grad_(True)
    torch.nn.init.normal_(step.model.transformer.motion_out.weight, std=0.1)
    step.loss(batch, 0)["total"].backward()
    assert batch.noise.grad is not None
    assert not batch.noise.grad[:, 6:].any() and bool(batch.noise.grad[:, :6].any())


def test_one_window_is_overfitted(cache: LatentCache) -> None:
    """One window, fresh noise at every step: the error of X_0 falls to a fifth in 200 steps."""
    step = tiny_step(cache, batch_size=8)
    window = step.windows.batch([3] * 8)
    optimizer = torch.optim.AdamW(step.model.parameters(), lr=3e-3)
    errors = []
    for number in range(200):
        drawn = step.batch_at(number)
        losses = step.loss(MotionBatch(window, drawn.noise, drawn.t, drawn.uniform), number)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        errors.append(float(losses["x0"].detach()))
    first, last = sum(errors[:5]) / 5, sum(errors[-20:]) / 20
    assert last < 0.2 * first, (first, last)


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(sorted(folder.glob("state_*.safetensors"))[-1])


def test_resume_equals_uninterrupted_bitwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cache(tmp_path / "train")
    make_cache(tmp_path / "validation", num_clips=2)
    straight = tiny_run(tmp_path, f"run_dir={tmp_path}/straight", "loop.prefetch=0")
    train_motion(straight)
    broken = tiny_run(tmp_path, f"run_dir={tmp_path}/broken", "loop.prefetch=0")
    batch_at = MotionStep.batch_at

    def stop_at_3(self: MotionStep, step: int) -> MotionBatch:
        if step == 3:
            raise KeyboardInterrupt
        return batch_at(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MotionStep, "batch_at", stop_at_3)
        train_motion(broken)
    assert len(list((tmp_path / "broken").glob("state_*"))) == 1  # of step 2, which is where it goes on
    train_motion(broken)
    one, other = state_of(tmp_path / "straight"), state_of(tmp_path / "broken")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    files = [load_weights(tmp_path / name / "motion.safetensors") for name in ("straight", "broken")]
    assert all(torch.equal(files[0].tensors[name], files[1].tensors[name]) for name in files[0].tensors)
    assert list((tmp_path / "straight" / "previews").glob("*.png"))


def test_the_export_is_what_the_generator_needs(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "train")
    make_cache(tmp_path / "validation")
    path = train_motion(tiny_run(tmp_path, "loop.steps=2"))
    generator = MotionGenerator.from_pretrained(path)
    assert generator.face_hash == cache.header.face_hash and generator.audio == cache.header.audio
    torch.testing.assert_close(generator.model.normalizer.motion_mean, cache.statistics["motion_mean"])
    motion = torch.cat(list(generator.generate(cache.features(0).float(), generator=torch.Generator())))
    assert motion.shape == (FRAMES, 6 + DYNAMICS)


def test_another_face_and_another_speech_encoder_are_refused(tmp_path: Path) -> None:
    make_cache(tmp_path / "train")
    make_cache(tmp_path / "validation", face_hash="e" * 64)
    with pytest.raises(CacheError, match="face checkpoint e"):
        train_motion(tiny_run(tmp_path))
    make_cache(tmp_path / "deaf", kind="hubert")
    with pytest.raises(CacheError, match="same speech encoder"):
        train_motion(tiny_run(tmp_path, f"validation_cache={tmp_path}/deaf"))


def test_a_run_begun_on_one_faces_motion_does_not_go_on_with_anothers(tmp_path: Path) -> None:
    make_cache(tmp_path / "train")
    make_cache(tmp_path / "other", face_hash="e" * 64)
    train_motion(tiny_run(tmp_path, "validation_cache=null", "loop.steps=2"))
    with pytest.raises(CacheError, match="another run_dir"):
        train_motion(tiny_run(tmp_path, "validation_cache=null", f"cache={tmp_path}/other"))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("tiny", 0.01, 0.1), ("demo", 0.9, 1.6), ("default", 6, 10), ("paper", 27.5, 30.5)],
)
def test_every_motion_config_builds_at_its_size(name: str, low: float, high: float) -> None:
    """Millions of parameters, with the motion and audio widths each is meant for."""
    run = load("train_motion", [f"motion={name}"])
    motion, audio = {"tiny": (22, 80), "demo": (26, 80), "default": (518, 768), "paper": (518, 768)}[name]
    with torch.device("meta"):
        network = MotionTransformer(run.motion, motion, audio)
    assert low < sum(p.numel() for p in network.parameters()) / 1e6 < high
    if name == "paper":
        assert run.motion == MotionConfig()


def test_encode_config_loads_for_both_splits() -> None:
    for split in ("train", "validation"):
        run = load("encode_motion", [f"split={split}"])
        assert run.output.name == split and run.face is not None
    assert load("encode_motion", ["face=null", "label_heads=0"]).face is None
    with pytest.raises(ValueError, match="split"):
        load("encode_motion", ["split=all"])


def test_scores_of_the_truth_itself_are_perfect_and_noise_is_seen(cache: LatentCache) -> None:
    model = tiny_step(cache).model
    truth = torch.randn(3, 40, 6 + DYNAMICS).cumsum(1)
    perfect = track_scores(Tracks(truth, truth, model.layout, model.config.hop_frames))
    for name in ("r_dynamics", "r_dynamics_top", "pose_jitter", "dynamics_jitter", "pose_amplitude"):
        assert perfect[name] == pytest.approx(1, abs=1e-4), name
    noisy = track_scores(
        Tracks(truth, truth + torch.randn_like(truth), model.layout, model.config.hop_frames)
    )
    assert noisy["pose_jitter"] > 1.5 and noisy["r_dynamics"] < 0.99
    broken = truth.clone()
    broken[:, model.config.window_frames :] += 5
    assert (
        track_scores(Tracks(truth, broken, model.layout, model.config.hop_frames))["join"]
        > 2 * perfect["join"]
    )


def test_the_report_is_the_same_every_time_and_the_picture_shows_both_tracks(cache: LatentCache) -> None:
    step = tiny_step(cache)
    torch.nn.init.normal_(step.model.transformer.motion_out.weight, std=0.1)
    averages = {"motion": step.model.eval()}
    report = MotionReport(cache, num_clips=2, seed=0)
    assert report.validate(1, averages) == report.validate(2, averages)
    picture = report.preview(1, averages)
    assert picture.dtype.name == "uint8" and picture.shape[2] == 3
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)[::3].tolist()}
    assert {(150, 150, 150), (30, 90, 220)} <= colours


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="start_share"):
        replace(tiny_run(tmp_path), start_share=1.5)
    with pytest.raises(ValueError, match="validation_clips"):
        replace(tiny_run(tmp_path), validation_clips=0)
