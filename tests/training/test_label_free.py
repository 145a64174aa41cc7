"""Stage 1 without labels: what it may look at, what its terms reach, and that runs resume with all parts."""

import shutil
from dataclasses import fields, replace

import pytest
import torch
import yaml

from vasa.checkpoint import load_weights, read_file
from vasa.config import CONFIGS, load
from vasa.data.config import FramePairsConfig
from vasa.data.frame_pairs import FacePairs, FramePairs
from vasa.face.config import DiscriminatorConfig, FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.discriminator import MultiScaleDiscriminator
from vasa.losses.config import LABELLED, FaceLossConfig
from vasa.metrics.correlation import pearson
from vasa.training.change import ChangeTeacher, canonical, principal
from vasa.training.config import OptimizerConfig
from vasa.training.driver_augment import grid_warp, nudged, to_float
from vasa.training.face_adversary import DiscriminatorStep
from vasa.training.face_probe import linear_r2
from vasa.training.face_step import FaceStep, feature_boxes
from vasa.training.lucas_kanade import optical_flow
from vasa.training.optim import learning_rate
from vasa.training.state import STATE_KIND
from vasa.training.teachers import Teachers
from vasa.training.train_face import train_face

TINY = yaml.safe_load((CONFIGS / "face" / "tiny.yaml").read_text())
SIZES = {"synthesised": {"source_pixels": False}, "carried": {"expression_warp": False, "driver_adds": True}}
FREE = dict.fromkeys((*LABELLED, "true_pose_share"), 0.0)
RECORD = ("source", "target", "driver", "other", "is_cross", "jitter", "warp", "nudge", "ids", "mask")
"""What a record of real video has."""
TERMS = {
    "perceptual": 1.0, "face": 1.0, "gaze": 1.0, "cycle": 1.0, "cross_cycle": 1.0, "consistency": 1.0,
    "cross_identity": 1.0, "volume": 1.0, "decorrelation": 1.0, "adversarial": 1.0, "feature_matching": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def pairs(cache):
    config = FramePairsConfig(
        cache=cache, num_identities=16, frames=4, size=64, randomised_share=0.0, cross_share=0.0, masks=True
    )
    found = FramePairs(config)
    found.prepare()
    return found


def unlabelled(batch):
    """The batch as real video would give it."""
    return replace(batch, **{f.name: None for f in fields(FacePairs) if f.name not in RECORD})


def build(kind="synthesised"):
    torch.manual_seed(0)
    model = FaceAutoencoder(FaceConfig(**{**TINY, **SIZES[kind]}))
    torch.nn.init.normal_(model.decoder.out.weight, std=0.05)
    torch.nn.init.normal_(model.driver_warp.out.weight, std=0.05)
    return model


def teachers():
    """Small ones of the true signatures."""
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(3, 8, 3)

    def features(image, *_, mask=None):
        return conv(image if mask is None else image * mask)

    def compare(image, target, *rest):
        return (features(image) - features(target)).abs().mean()

    def identity(image, points):
        assert points.shape[1:] == (68, 2)
        return torch.nn.functional.normalize(features(image).mean((2, 3)), dim=-1)

    return Teachers(perceptual=compare, face=compare, gaze=compare, identity=identity)


def step_with(model, **weights):
    discriminator = MultiScaleDiscriminator(DiscriminatorConfig(widths=[4, 8]))
    losses = FaceLossConfig(**{**FREE, "transfer_share": 0.5, **weights})
    return FaceStep(model, losses, None, teachers(), discriminator)


@pytest.mark.parametrize("kind", SIZES)
def test_labels_change_nothing_where_none_are_used(pairs, kind):
    batch = pairs.batch_at(0, 4)
    step = step_with(build(kind), **TERMS)
    with_labels, without = step(batch, 0), step(unlabelled(batch), 0)
    assert with_labels.keys() == without.keys() >= {*TERMS, "l1", "gradient"}
    for name, value in with_labels.items():
        torch.testing.assert_close(value, without[name], msg=name)


def test_crops_lie_where_landmarks_were_measured(pairs):
    """Who looks at a face is told where it is in that very frame."""
    batch, told = unlabelled(pairs.batch_at(0, 4)), []
    measured = torch.rand(4, 3, 68, 2) * 2 - 1

    def compare(image, target, points, *rest):
        told.append(points)
        return (image - target).abs().mean()

    def identity(image, points):
        told.append(points)
        return torch.nn.functional.normalize(image.mean((2, 3)), dim=-1)

    step = step_with(build(), gaze=1.0, cross_identity=1.0)
    step.teachers = Teachers(gaze=compare)
    step.transfers.identity = identity
    step(replace(batch, measured_points=measured), 0)
    for found, wanted in zip(told, (measured[:, 1], measured[:2, 2], measured[:2, 1]), strict=True):
        assert torch.equal(found, wanted)
    told.clear()
    step(batch, 0)
    assert (told[0] - measured[:, 1]).abs().max() > 0.1 and told[1].shape == (2, 68, 2)


@pytest.mark.parametrize("term", TERMS)
def test_every_term_can_stand_alone_and_reaches_what_it_teaches(pairs, term):
    model = build()
    also = {"adversarial": 1.0} if term == "feature_matching" else {}
    weights = {"l1": 0, "gradient": 0, "cycle": 0, "consistency": 0, **also, term: 1.0}
    losses = step_with(model, **weights)(unlabelled(pairs.batch_at(0, 4)), 0)
    assert {n for n in losses if not n.startswith("raw_")} == {"total", term, *also}
    losses[f"raw_{term}"].backward()
    taught = {
        "volume": model.refiner.out, "decorrelation": model.dynamics_encoder.body.head,
    }.get(term, model.decoder.out)  # fmt: skip
    assert taught.weight.grad.abs().sum() > 0 and taught.weight.grad.isfinite().all()


def test_the_background_counts_for_nothing_under_a_mask(pairs):
    batch = pairs.batch_at(0, 4)
    model, changed = build(), batch.target.clone()
    changed[batch.mask == 0] = 255 - changed[batch.mask == 0]
    step = step_with(model, cycle=0, consistency=0)
    first, second = (step(replace(batch, target=t), 0)["total"] for t in (batch.target, changed))
    torch.testing.assert_close(first, second)
    third = step(replace(batch, target=changed, mask=None), 0)["total"]
    assert (third - first).abs() > 0.01


def test_each_phase_teaches_only_its_own_network(pairs):
    model, batch = build(), unlabelled(pairs.batch_at(0, 4))
    step = step_with(model, adversarial=1.0)
    judge = DiscriminatorStep(step.discriminator, step)
    step.discriminator.requires_grad_(False)
    step(batch, 0)["total"].backward()
    assert all(p.grad is None for p in step.discriminator.parameters())
    model.requires_grad_(False), step.discriminator.requires_grad_(True)
    kept = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    said = judge(batch, 0)
    said["total"].backward()
    assert any(p.grad.abs().sum() > 0 for p in step.discriminator.parameters())
    now = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True))
    assert not step.fakes, "every part's pictures are judged once"


def test_a_discriminator_learns_to_tell_frames_from_blurred_ones(pairs):
    torch.manual_seed(0)
    step = step_with(build(), adversarial=1.0)
    step.discriminator = MultiScaleDiscriminator(DiscriminatorConfig(widths=[16, 32, 64]))
    judge = DiscriminatorStep(step.discriminator, step)
    adam = torch.optim.Adam(step.discriminator.parameters(), 4e-3, betas=(0.5, 0.999))
    seen = []
    for number in range(40):
        batch = replace(pairs.batch_at(number, 4), mask=None)
        true = to_float(batch.target)
        step.fakes.append(torch.nn.functional.avg_pool2d(true, 9, 1, 4))
        adam.zero_grad()
        said = judge(batch, number)
        said["total"].backward()
        adam.step()
        seen.append(said["total"].item())
    assert sum(seen[-5:]) < 0.9 * sum(seen[:5])


def test_the_change_teacher_sees_expressions_and_teaches_them(pairs):
    near = FramePairs(replace(pairs.config, twin_share=1.0))
    batch = near.batch_at(0, 16)
    source, target = to_float(batch.source), to_float(batch.target)
    pose = torch.cat([batch.source_pose, batch.target_pose])
    model = build()
    change = ChangeTeacher(model.config)
    change.fit([(source, target, pose)])
    assert change.principal_0.abs().sum() > 0 and change.shared_flow_1.abs().sum() > 0
    nothing = change.changes(source, source, torch.cat([batch.source_pose] * 2))
    assert all(part.abs().max() < 1e-5 for part in nothing)
    step = FaceStep(model, FaceLossConfig(**FREE, change_steps=100), change=change)
    adam = torch.optim.Adam([*model.dynamics_encoder.parameters(), *change.parameters()], 3e-3)
    first = None
    for number in range(24):
        adam.zero_grad()
        losses = step(batch, number)
        losses["total"].backward()
        adam.step()
        first = first or losses["raw_change"].item()
    assert losses["raw_change"].item() < 0.8 * first  # 0.58
    assert all(p.grad is None for p in model.decoder.parameters())


def test_what_a_turning_head_changes_is_no_expression(pairs):
    batch = FramePairs(replace(pairs.config, twin_share=0.0)).batch_at(0, 48)
    source, target = to_float(batch.source), to_float(batch.target)
    pose = torch.cat([batch.source_pose, batch.target_pose])
    change = ChangeTeacher(build().config)
    change.fit([(source, target, pose)])
    changes = change.changes(source, target, pose)
    turn = (batch.target_pose - batch.source_pose)[:, :2]
    left = changes[1] - (batch.target_pose - batch.source_pose) @ change.turned_flow_0
    before, after = ((turn.T @ flow).square().sum() / flow.square().sum() for flow in (changes[1], left))
    assert after < 0.1 * before


def test_what_two_views_share_is_found_in_their_noise():
    draw = torch.Generator().manual_seed(0)
    cause = torch.randn(3000, 1, generator=draw)
    looks, flows = torch.randn(3000, 12, generator=draw) * 3, torch.randn(3000, 9, generator=draw) * 2
    looks[:, 4:5] += cause
    flows[:, 2:3] -= cause
    look_axes, flow_axes = canonical(looks, flows)
    said = looks @ look_axes[:, :1] + flows @ flow_axes[:, :1]
    assert abs(pearson(said, cause).item()) > 0.4  # in either view alone: 0.32 and 0.45 at best
    strongest = looks @ principal(looks)[0][:, :1]
    assert abs(pearson(strongest, cause).item()) < 0.33
    by_view = [int(axes[:, 0].abs().argmax()) for axes in (look_axes, flow_axes)]
    assert by_view == [4, 2]


def test_optical_flow_finds_a_shift_and_leaves_blank_paper_alone():
    v, u = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")

    def picture(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (torch.sin(x / 4) * torch.cos(y / 5) + torch.sin((x + y) / 7))[None, None]

    before, after = picture(u, v), picture(u - 1.5, v + 1.0)
    flow = optical_flow(torch.cat([before, 0 * before]), torch.cat([after, 0 * after]))
    inside = flow[0, :, 8:-8, 8:-8].mean((1, 2))
    torch.testing.assert_close(inside, torch.tensor([1.5, -1.0]), atol=0.15, rtol=0)
    assert flow[1].abs().max() == 0


def test_held_codes_stay_while_the_rest_learns(pairs):
    model = build("carried")
    losses = FaceLossConfig(**FREE, change_steps=5, hold_codes=True, cycle=1, cross_cycle=1, consistency=1)
    step = FaceStep(model, losses, change=ChangeTeacher(model.config, model.painter))
    terms = step(pairs.batch_at(0, 4), 8)
    assert terms["raw_cycle"] > 0 and terms["raw_cross_cycle"] > 0
    terms["total"].backward()
    assert all(p.grad is None for p in model.dynamics_encoder.parameters())
    assert model.decoder.out.weight.grad.abs().sum() > 0
    assert model.painter.painters[0].out.weight.grad.abs().sum() > 0
    model.zero_grad()
    held = step(pairs.batch_at(0, 4), 8)["raw_cycle"]
    held.backward()
    assert model.decoder.out.weight.grad.abs().sum() > 0, "the picture learns from what is read in it"


def test_the_painter_draws_only_in_its_windows_and_nothing_at_the_start(pairs):
    model = build("carried")
    batch = pairs.batch_at(0, 4)
    image, pose, codes = to_float(batch.source), batch.source_pose, torch.randn(4, 16)
    painted = model.painter(image, pose, pose, codes, codes * 0)
    assert all((after - before).abs().max() < 1e-5 for before, after in painted)
    torch.nn.init.normal_(model.painter.painters[1].out.bias, std=1.0)
    painted = model.painter(image, pose, pose, codes, codes * 0)
    axis = torch.linspace(-1.5, 1.5, 40)
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    drawn = model.painter.changes(painted, x.expand(4, -1, -1), y.expand(4, -1, -1)).abs().sum((0, 1))
    window = model.config.windows[1]  # the mouth's
    inside = (x > window.x0) & (x < window.x1) & (y > window.y0) & (y < window.y1)
    assert drawn[inside].sum() > 0 and drawn[~inside].sum() < 1e-3


def test_the_learning_rate_begins_anew():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=2, restart_step=10, final_fraction=0.1)
    rates = [learning_rate(config, step, 30) for step in range(30)]
    alone = [learning_rate(replace(config, restart_step=0), step, 10) for step in range(10)]
    assert rates[:10] == alone and rates[9] == pytest.approx(0.1) and rates[10] == 0.5
    assert rates[29] == pytest.approx(0.1)


def test_grid_warp_moves_shapes_and_keeps_the_border():
    images = torch.rand(2, 3, 32, 32)
    noise = torch.randn(2, 7, 7, 2)
    torch.testing.assert_close(grid_warp(images, noise, 0.0), images, atol=1e-4, rtol=0)
    moved = grid_warp(images, noise, 0.3)
    assert (moved - images)[..., 8:-8, 8:-8].abs().mean() > 0.02
    assert (moved - images)[..., 0, :].abs().mean() < 0.3 * (moved - images)[..., 16, :].abs().mean()


def test_a_nudge_is_in_its_units():
    pose = nudged(torch.zeros(1, 6), torch.ones(1, 6), 2.0)
    assert pose[0, 0].item() == pytest.approx(0.12)


def test_feature_boxes_hold_the_features(pairs):
    batch = pairs.batch_at(0, 8)
    eyes, mouth = feature_boxes(batch.target_points)
    for true, found in ((batch.eye_boxes[:, 0], eyes[:, 0]), (batch.mouth_box, mouth)):
        centre = (true[:, :2] + true[:, 2:]) / 2
        assert ((centre > found[:, :2]) & (centre < found[:, 2:])).all()


def test_linear_r2_of_what_is_there_and_of_what_is_not():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(600, 8, generator=generator)
    wanted = torch.stack([codes[:, 0] * 2 + 1, torch.randn(600, generator=generator)], 1)
    found = linear_r2(codes, wanted, torch.arange(600) < 400)
    assert found[0] > 0.99 and found[1] < 0.1


def command(run_dir, cache, steps, *more):
    return [
        "face=tiny", "run=smoke", f"run_dir={run_dir}", f"pairs.cache={cache}", "pairs.frames=4",
        "face.source_pixels=false", "pairs.num_identities=16", "pairs.randomised_share=0",
        "pairs.cross_share=0", "pairs.masks=true", "validation_identities=16", "validation_batches=1",
        f"loop.steps={steps}", "loop.save_every=2", "low_size=32", "low_steps=4", "losses.change_steps=2",
        "losses.adversarial=1", "losses.feature_matching=1", "discriminator.widths=[4,8]",
        "losses.cross_cycle=1", "losses.transfer_every=2", "freeze_pose=true", "losses.hold_codes=true",
        *(f"losses.{name}=0" for name in FREE), *more,
    ]  # fmt: skip


def test_a_label_free_run_with_all_its_phases_resumes_bitwise(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("vasa.training.train_face.CHANGE_BATCHES", 4)
    held = ("freeze", "losses.change_", "losses.hold")
    start = train_face(
        load("train_face", [a for a in command(tmp_path / "pose", cache, 2) if not a.startswith(held)])
    )
    given = [f"init_pose={start}", "loop.keep_states=3"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_face(load("train_face", command(whole, cache, 6, *given)))
    parts.mkdir()
    shutil.copy(whole / "state_00000004.safetensors", parts)
    train_face(load("train_face", command(parts, cache, 6, *given)))
    first, second = (load_weights(folder / "face.safetensors").tensors for folder in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not [name for name in first if name.startswith("change")]
    states = (whole / f"state_{step:08d}.safetensors" for step in (4, 6))
    before, after = (read_file(path, STATE_KIND).tensors for path in states)
    networks = [name for name in after if name.startswith("module/")]
    moved = " ".join(name for name in networks if not torch.equal(before[name], after[name]))
    assert "decoder" in moved and "discriminator" in moved
    assert "dynamics_encoder.body" not in moved and "pose_encoder" not in moved


def test_codes_that_nothing_taught_are_not_held():
    with pytest.raises(ValueError, match="nothing has taught it"):
        load("train_face", ["experiment=voxceleb2", "losses.change_steps=0", "loop.canaries=[]"])
    with pytest.raises(ValueError, match="one size only"):
        load("train_face", ["experiment=label_free", "low_size=64", "low_steps=100"])


def test_clips_without_labels_refuse_terms_that_need_them():
    with pytest.raises(ValueError, match="data=clips has no labels, but losses .*flow"):
        load("train_face", ["data=clips"])
    assert load("train_face", ["experiment=paper"]).losses.needs_labels == []
