"""LivePortrait's face space: its optimised graph, its motion in our terms, its files."""

import math

import pytest
import torch
import torch.nn.functional as F

from vasa.checkpoint import CheckpointError, save_weights
from vasa.face.keypoints.animation import KeypointMotion
from vasa.face.keypoints.camera import rotation
from vasa.face.keypoints.generator import SpadeGenerator, SpectralConv
from vasa.face.keypoints.networks import KeypointNetworks, split_retargeting, unwrapped
from vasa.face.keypoints.optimised import OptimisedGenerator, OptimisedWarping
from vasa.face.keypoints.space import KeypointFace, from_raw, to_raw
from vasa.face.keypoints.warping import WarpingModule
from vasa.metrics.video import psnr


def alive(network, seed=0):
    """Random weights under which every layer matters, norms too."""
    torch.manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("norm.weight"):
            tensor.normal_(1, 0.1)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.1 if tensor.dim() < 2 else tensor[0].numel() ** -0.5)
    for module in network.modules():
        if isinstance(module, SpectralConv):
            module.weight_v.copy_(F.normalize(module.weight_orig.flatten(1).T @ module.weight_u, dim=0))
            module.weight_u.copy_(F.normalize(module.weight_orig.flatten(1) @ module.weight_v, dim=0))
    return network.eval().requires_grad_(False)


def empty(kind):
    with torch.device("meta"):
        network = kind(narrow=4)
    return network.to_empty(device="cpu")


@pytest.fixture(scope="module")
def warping():
    return alive(empty(WarpingModule))


@pytest.fixture(scope="module")
def generator():
    return alive(empty(SpadeGenerator))


def relative(found, wanted):
    return float((found - wanted).abs().max() / wanted.square().mean().sqrt())


@pytest.fixture(scope="module")
def warped(warping):
    """A volume, keypoints of two frames, and what the plain graph makes of them."""
    torch.manual_seed(1)
    volume, source = torch.randn(1, 8, 4, 32, 32), torch.rand(1, 21, 3) - 0.5
    driving = source + 0.05 * torch.randn(2, 21, 3)
    with torch.inference_mode():
        made = warping(volume.expand(2, -1, -1, -1, -1), driving, source.expand(2, -1, -1))
    return volume, source, driving, made


def test_the_optimised_warp_is_the_plain_one(warping, warped):
    volume, source, driving, (feature, motion) = warped
    optimised = OptimisedWarping(warping)
    with torch.inference_mode():
        found, moved = optimised(optimised.source(volume, source), driving)
    assert relative(found.permute(0, 3, 1, 2), feature) < 5e-5
    assert relative(moved.deformation, motion.deformation) < 1e-5
    assert relative(moved.occlusion, motion.occlusion) < 1e-5


def test_the_optimised_generator_is_the_plain_one(generator):
    torch.manual_seed(2)
    feature = torch.randn(2, 64, 16, 16)
    with torch.inference_mode():
        wanted = generator(feature)
        found = OptimisedGenerator(generator)(feature.permute(0, 2, 3, 1).contiguous())
        rough = OptimisedGenerator(generator, torch.bfloat16)(feature.permute(0, 2, 3, 1).contiguous())
    assert found.shape == wanted.shape == (2, 3, 128, 128)
    assert relative(found, wanted) < 5e-5
    assert 40 < float(psnr(rough * 2 - 1, wanted * 2 - 1).mean()) < 80


def test_bfloat16_warps_as_well(warping, warped):
    volume, source, driving, (feature, _) = warped
    optimised = OptimisedWarping(warping, torch.bfloat16)
    with torch.inference_mode():
        found, _ = optimised(optimised.source(volume, source), driving)
    assert found.dtype == torch.bfloat16
    assert relative(found.float().permute(0, 3, 1, 2), feature) < 0.3


# ---------------------------------------------------------------------- motion


def some_motion(count=5):
    torch.manual_seed(3)
    angles = (torch.rand(3, count) - 0.5) * 60
    expression = 0.05 * torch.randn(count, 21, 3)
    t = torch.cat([0.1 * torch.randn(count, 2), torch.zeros(count, 1)], 1)
    return KeypointMotion(rotation(*angles), expression, 1 + torch.rand(count, 1), t)


def test_raw_motion_is_the_same_motion():
    motion = some_motion()
    raw = to_raw(motion)
    assert raw.shape == (5, 69)
    back, canonical = from_raw(raw), torch.rand(1, 21, 3) - 0.5
    torch.testing.assert_close(back.turned, motion.turned, atol=1e-5, rtol=0)
    torch.testing.assert_close(back.keypoints(canonical), motion.keypoints(canonical), atol=1e-5, rtol=0)


def test_signs_are_those_of_records():
    """A nose, nearer than the rest (z away from the viewer), goes right for yaw > 0, up for pitch > 0; a
    cheek on the right goes up for roll > 0; t moves right and up; log s doubles.
    """
    canonical = torch.zeros(1, 21, 3)
    canonical[0, 0, 2], canonical[0, 1, 0] = -0.5, 0.5

    def moved(index, value):
        raw = torch.zeros(1, 69)
        raw[0, index] = value
        return from_raw(raw).keypoints(canonical)[0]

    right, up = (moved(0, 0.3)[0, 0], -moved(1, 0.3)[0, 1])
    assert right == pytest.approx(0.5 * math.sin(0.3)) and up == pytest.approx(0.5 * math.sin(0.3))
    assert -moved(2, 0.3)[1, 1] == pytest.approx(0.5 * math.sin(0.3))
    assert moved(3, 0.2)[2, 0] == pytest.approx(0.2) and moved(4, 0.2)[2, 1] == pytest.approx(-0.2)
    assert moved(5, math.log(2))[1, 0] == pytest.approx(1.0)


# ---------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def networks():
    found = alive(KeypointNetworks.empty(narrow=8))
    found.motion.detector.fc_scale.bias.fill_(1.3)
    return found


@pytest.fixture(scope="module")
def face(networks):
    return KeypointFace(networks)


def test_a_file_is_read_back(networks, face, tmp_path):
    path = tmp_path / "face.safetensors"
    networks.save(path, {})
    again = KeypointNetworks.from_pretrained(path)
    assert again.species == "human"
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), networks.state_dict().values(), strict=True)
    )
    save_weights(path, {"a": torch.ones(1)}, {"space": "other"}, {})
    with pytest.raises(CheckpointError, match="holds no keypoint face space"):
        KeypointNetworks.from_pretrained(path)


def test_published_files_come_nested_prefixed_and_in_both_spellings(networks):
    torch.manual_seed(4)
    other = KeypointNetworks.empty(narrow=8)
    motion = networks.motion.state_dict()
    other.load_published("motion", {"state_dict": {f"module.{k}": v for k, v in motion.items()}}, "M")
    assert torch.equal(other.motion.detector.fc_kp.weight, networks.motion.detector.fc_kp.weight)
    bare = {k.removeprefix("detector."): v + 1 for k, v in motion.items()}
    other.load_published("motion", bare, "M")
    assert torch.equal(other.motion.detector.fc_kp.weight, networks.motion.detector.fc_kp.weight + 1)
    theirs = networks.generator.state_dict()
    new = {
        k.replace("weight_orig", "parametrizations.weight.original")
        .replace("weight_u", "parametrizations.weight.0._u")
        .replace("weight_v", "parametrizations.weight.0._v"): v
        for k, v in theirs.items()
    }
    assert new.keys() != theirs.keys()
    other.load_published("generator", new, "G")
    assert torch.equal(other.generator.up_0.conv_s.weight_u, networks.generator.up_0.conv_s.weight_u)


def test_the_three_small_networks_share_a_file(networks):
    theirs = {"stitching": "retarget_shoulder", "lip": "retarget_mouth", "eye": "retarget_eye"}
    parts = {theirs[name]: networks.retargeting.get_submodule(name).state_dict() for name in theirs}
    other = KeypointNetworks.empty(narrow=8)
    other.load_published("retargeting", parts | {"epoch": 3, "optimizer": {}}, "S")
    assert torch.equal(other.retargeting.eye.mlp[0].weight, networks.retargeting.eye.mlp[0].weight)
    with pytest.raises(CheckpointError, match="has no retarget_eye"):
        split_retargeting({k: v for k, v in parts.items() if k != "retarget_eye"}, "S")


def test_what_does_not_fit_is_listed(networks):
    tensors = dict(networks.appearance.state_dict())
    gone = tensors.pop("first.conv.bias")
    with pytest.raises(CheckpointError, match=r"1 missing \(first.conv.bias\); 1 unexpected \(extra\)"):
        KeypointNetworks.empty(narrow=8).load_published("appearance", tensors | {"extra": gone}, "F")
    with pytest.raises(CheckpointError, match="no state dict: epoch"):
        unwrapped({"epoch": 1}, "F")
    with pytest.raises(ValueError, match="species is 'fish'"):
        KeypointNetworks("fish")
    with pytest.raises(ValueError, match="narrow is 3; wanted one of 1, 2, 4, 8"):
        KeypointNetworks(narrow=3)


# ---------------------------------------------------------------------- the space


def test_a_portrait_is_encoded_once_and_moves(face, networks):
    torch.manual_seed(5)
    image = torch.rand(1, 3, 256, 256) * 2 - 1
    with torch.inference_mode():
        appearance = face.encode(image)
        own = face.own_motion(appearance)
        assert own.shape == (1, face.layout.width) and torch.equal(own, face.motion(image))
        turned = own.clone()
        turned[:, 0] += 0.3
        frames = face.render(appearance, torch.cat([own, turned]))
        canonical, motion = face.read(image)
        x = motion.keypoints(canonical)
        plain = networks.generator(networks.warping(networks.appearance((image + 1) / 2), x, x)[0]) * 2 - 1
        still = face.render(appearance, own)
        held = face.render(face.hold_edges(appearance), turned)
    assert frames.shape == (2, 3, 256, 256) and float(frames.abs().max()) <= 1
    assert not torch.equal(frames[0], frames[1])
    assert float((held - image)[..., [0, -1], :].abs().max()) < 0.02
    assert float((held - frames[1:])[..., 100:150, 100:150].abs().max()) < 1e-4
    shrunk = F.interpolate(plain, (256, 256), mode="bicubic", antialias=True).clamp(-1, 1)
    assert float((still - shrunk).abs().max()) < 1e-3


def test_what_it_cannot_say_is_refused(face):
    for ask in (
        lambda: face.controls(torch.zeros(1, 69)),
        lambda: face.set_controls(torch.zeros(1, 69), None),
    ):
        with pytest.raises(ValueError, match="no labelled controls"):
            ask()


def test_new_spectral_weights_have_a_largest_singular_value_of_about_one():
    torch.manual_seed(6)
    conv = SpectralConv(16, 32, 3)
    largest = float(torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2))
    assert 1 <= largest < 1.2
