"""Structure of the face autoencoder: shapes, what depends on what, warps that invert each other."""

import pytest
import torch
import yaml

from vasa.checkpoint import save_weights
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import REST_LIMITS, FaceAutoencoder
from vasa.face.volumetric.shape import FIVE_GROUPS
from vasa.face.volumetric.warping import canonical_from_seen, identity_grid, seen_from_canonical
from vasa.geometry import project
from vasa.records import CONTROL_NAMES


def config(name="tiny", **changes):
    from vasa.config import CONFIGS

    return FaceConfig(**{**yaml.safe_load((CONFIGS / "face" / f"{name}.yaml").read_text()), **changes})


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return FaceAutoencoder(config()).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_canonical_and_seen_positions_invert_each_other():
    grid = identity_grid(4, 8)[None]
    pose = torch.tensor([[0.4, -0.2, 0.3, 0.1, -0.1, 0.15]])
    there = seen_from_canonical(grid, pose)
    torch.testing.assert_close(canonical_from_seen(there, pose), grid, atol=1e-5, rtol=0)


def test_render_keeps_the_portraits_own_size(model, images):
    large = torch.nn.functional.interpolate(images[:1], (96, 96))
    appearance = model.encode(large)
    motion = model.motion(images)
    assert motion.shape == (2, model.layout.width)
    assert model.render(appearance, motion).shape == (2, 3, 96, 96)


def test_a_batch_equals_its_samples(model, images):
    appearance, motion = model.encode(images[:1]), model.motion(images)
    both = model.render(appearance, motion)
    one = torch.cat([model.render(appearance, motion[n : n + 1]) for n in range(2)])
    torch.testing.assert_close(both, one, atol=2e-4, rtol=0)  # sums in another order


def test_an_untrained_decoder_leaves_the_geometric_warp_alone(images):
    torch.manual_seed(0)
    model = FaceAutoencoder(config()).eval()
    appearance = model.encode(images[:1])
    own = torch.cat([appearance.pose, appearance.dynamics], -1)
    assert (model.render(appearance, own) - images[:1]).abs().mean() < 0.02


def test_dynamics_do_not_depend_on_the_portrait(model, images):
    portrait = images[:1].clone().requires_grad_(True)
    driver = images[1:].clone().requires_grad_(True)
    appearance = model.encode(portrait)
    model.motion(driver)[:, model.layout.dynamics].sum().backward()
    assert portrait.grad is None
    assert driver.grad.abs().sum() > 0
    assert appearance.volume.requires_grad


def test_set_controls_says_what_was_asked_and_leaves_the_pose(model, images):
    motion = model.motion(images)
    wanted = torch.rand(2, 11) - 0.3
    moved = model.set_controls(motion, wanted)
    torch.testing.assert_close(model.controls(moved), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[:, model.layout.pose], motion[:, model.layout.pose])


def test_without_source_pixels_every_pixel_is_synthesised(images):
    torch.manual_seed(0)
    model = FaceAutoencoder(config(source_pixels=False)).eval()
    appearance = model.encode(images[:1])
    assert model.render(appearance, model.motion(images)).abs().max() <= 1
    with pytest.raises(ValueError, match="source_pixels"):
        model.render(appearance, model.motion(images[:1]), learned=False)


def test_pretrained_file_gives_the_same_pictures(model, images, tmp_path):
    path = tmp_path / "face.safetensors"
    save_weights(path, model.state_dict(), model.describe(), {})
    again = FaceAutoencoder.from_pretrained(path)
    torch.testing.assert_close(again.motion(images), model.motion(images))


def test_wrong_portrait_shape_is_named(model):
    with pytest.raises(ValueError, match="square RGB"):
        model.encode(torch.zeros(1, 3, 64, 48))


def test_paper_sizes_build_the_same_classes():
    with torch.device("meta"):
        model = FaceAutoencoder(FaceConfig())
    assert model.config.volume_size == 64
    decoder = sum(p.numel() for p in model.decoder.parameters()) / 1e6
    assert 20 < decoder < 60  # 8 blocks of 512 plus the upsampling ones


@pytest.mark.parametrize(
    "change", [{"size": 100}, {"decoder_up_widths": [16, 16]}, {"windows": []}, {"appearance_stride": 3}]
)
def test_impossible_sizes_are_refused(change):
    with pytest.raises(ValueError, match="face\\."):
        config(**change)


def test_a_resting_portrait_reads_as_rest_but_for_what_is_plainly_shut(model, images):
    shown = model.encode(images[:1])
    rest = model.encode(images[:1], resting=1.0)
    said = model.controls(model.own_motion(rest))
    plain = [index for index, name in enumerate(CONTROL_NAMES) if name not in REST_LIMITS]
    assert said[0, plain].abs().max() < 1e-4
    torch.testing.assert_close(rest.pose, shown.pose)
    half = model.controls(model.own_motion(model.encode(images[:1], resting=0.5)))
    whole = model.controls(model.own_motion(shown))
    torch.testing.assert_close(half[0, plain], whole[0, plain] / 2, atol=1e-4, rtol=1e-3)


def test_features_lie_where_a_detector_saw_them(model, images):
    points = torch.tensor([[[-0.22, -0.02], [0.20, -0.05], [0.0, 0.2], [-0.18, 0.5], [0.2, 0.46]]])
    appearance = model.encode(images[:1], points, resting=1.0)
    five = torch.stack([appearance.landmarks[:, group].mean(1) for group in FIVE_GROUPS], 1)
    seen = project(five, appearance.pose)
    torch.testing.assert_close(seen[:, :3], points[:, :3], atol=0.02, rtol=0)
    torch.testing.assert_close(seen[:, 3:], points[:, 3:], atol=0.08, rtol=0)  # settled in the picture
