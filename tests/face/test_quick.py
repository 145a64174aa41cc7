"""What makes frames quick, against what the networks were trained through: the warp from tables, the decoder
channels last, pictures finer than the network; and that a frame copies nothing between host and device.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vasa.face.config import FaceConfig
from vasa.face.volumetric import mouth
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.pixels import MAP_NAMES, base_warp
from vasa.face.volumetric.quick_decoder import QuickDecoder
from vasa.face.volumetric.quick_warp import QuickWarp
from vasa.face.volumetric.shape import face_shape
from vasa.inference.demo import demo_portrait
from vasa.inference.rendering import to_pixels
from vasa.records import CONTROL_HIGH, CONTROL_LOW

FRAMES = 6


def psnr_db(a, b):
    return float(-10 * ((a - b).float() / 2).square().mean(dim=(1, 2, 3)).clamp(min=1e-12).log10().max())


@pytest.fixture(scope="module")
def face():
    return FaceAutoencoder.from_pretrained("checkpoints/demo/face.safetensors")


def moving(face, appearance, seed=0):
    """Motion (FRAMES, E) over the whole range of controls, the head turned by up to 0.4."""
    draw = torch.Generator().manual_seed(seed)
    low, high = torch.tensor(CONTROL_LOW), torch.tensor(CONTROL_HIGH)
    controls = low + (high - low) * torch.rand(FRAMES, len(low), generator=draw)
    motion = face.set_controls(face.own_motion(appearance).expand(FRAMES, -1).clone(), controls)
    motion[:, :6] += 0.4 * (torch.rand(FRAMES, 6, generator=draw) - 0.5)
    return motion


def encoded(face, side, points=False):
    picture, known = demo_portrait(3, side)
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    seen = None
    if points:
        seen = torch.from_numpy(known.crop.to_crop(known.points)).float()[None]
    return face.encode(image, seen, 1.0)


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(3))
def test_the_warp_from_tables_is_the_warp(face, seed):
    appearance = encoded(face, 128, points=seed == 2)
    motion = moving(face, appearance, seed)
    shape, own = face_shape(appearance.landmarks), face.controls(face.own_motion(appearance))
    asked = face.controls(motion)
    wanted = base_warp(appearance.pose, own, motion[:, :6], asked, shape.expand(FRAMES), 128)
    found = QuickWarp(shape, appearance.pose, own, 128)(motion[:, :6], asked)
    assert float((found.flow - wanted.flow).square().mean().sqrt()) * 64 < 0.05, "pixels"
    for name, a, b in zip(MAP_NAMES, found.maps.unbind(1), wanted.maps.unbind(1), strict=True):
        assert float((a - b).square().mean().sqrt()) < 0.01, name
    assert float((found.synthesis - wanted.synthesis).square().mean().sqrt()) < 0.01
    assert torch.allclose(found.mouth, wanted.mouth[:1])


@torch.inference_mode()
@pytest.mark.parametrize("side", [128, 200])
@pytest.mark.parametrize("held", [False, True])
def test_frames_made_quickly_are_the_frames(face, side, held):
    appearance = encoded(face, side, points=True)
    appearance = face.hold_edges(appearance) if held else appearance
    motion = moving(face, appearance)
    wanted = face.render(appearance, motion)
    quick = FaceAutoencoder.from_pretrained("checkpoints/demo/face.safetensors")
    for dtype, least_db in ((torch.float32, 50), (torch.bfloat16, 42)):
        quick.quicken(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found = quick.render(quick.ready(appearance), motion)
        assert psnr_db(found, wanted) > least_db
        alone = quick.render(quick.ready(appearance), motion[2:3])
        assert psnr_db(alone, wanted[2:3]) > least_db, "of one frame, too"


def sizes(**more):
    small = {"size": 64, "appearance_widths": [8, 16], "volume_channels": 8, "volume_depth": 4}
    small |= {"identity_widths": [8, 8], "identity_blocks": [1, 1], "identity_channels": 8}
    small |= {
        "pose_widths": [8, 8],
        "pose_blocks": [1, 1],
        "dynamics_widths": [8, 8],
        "dynamics_blocks": [1, 1],
    }
    small |= {"encoder_input": 64, "warp_widths": [8, 8], "refiner_widths": [8, 8], "volume_blocks": 1}
    small |= {"dynamics_dim": 12, "decoder_width": 16, "decoder_blocks": 1, "appearance_stride": 2}
    return FaceConfig(**{**small, **more})


@torch.inference_mode()
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    "more", [{"decoder_up_widths": [8, 8]}, {"decoder_up_widths": [8], "pixel_shuffle": 2}]
)
@pytest.mark.parametrize("source_pixels", [False, True])
def test_every_kind_of_decoder_has_a_quick_form(more, source_pixels, folded):
    from vasa.nn.blocks import fold

    torch.manual_seed(0)
    model = FaceAutoencoder(sizes(**more, source_pixels=source_pixels)).eval()
    for weight in model.parameters():  # outputs start at zero, which would compare nothing
        weight.add_(0.05 * torch.randn_like(weight))
    if folded:
        fold(model)
    appearance = model.encode(torch.rand(1, 3, 64, 64) * 2 - 1)
    motion = model.own_motion(appearance) + 0.1 * torch.randn(3, model.layout.width)
    wanted = model.render(appearance, motion)
    assert float(wanted.std()) > 1e-3
    model.quick = QuickDecoder(model.decoder, torch.float32)
    assert torch.allclose(model.render(appearance, motion), wanted, atol=1e-4)


class Traffic(TorchDispatchMode):
    """Calls that bring numbers from the host, or to it, or whose shape depends on numbers."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        if any(
            word in str(call) for word in ("lift_fresh", "_local_scalar", "nonzero", "is_nonzero", "item")
        ):
            self.seen.append(str(call))
        return call(*args, **(kwargs or {}))


@torch.inference_mode()
def test_a_frame_of_networks_alone_copies_nothing_either():
    model = FaceAutoencoder(sizes(decoder_up_widths=[8], pixel_shuffle=2)).eval()
    model.quicken(torch.bfloat16)
    appearance = model.ready(model.encode(torch.rand(1, 3, 64, 64) * 2 - 1))
    motion = model.own_motion(appearance).expand(3, -1)
    with Traffic() as traffic:
        to_pixels(model.render(appearance, motion))
    assert traffic.seen == [] and model.replayable(appearance)


@torch.inference_mode()
@pytest.mark.parametrize("side", [128, 256])
def test_a_frame_copies_nothing_between_host_and_device(face, side, monkeypatch):
    """As a CUDA graph wants it. The rectangles that a CPU reads off are not asked for on other devices."""
    quick = FaceAutoencoder.from_pretrained("checkpoints/demo/face.safetensors")
    quick.quicken(torch.float32)
    assert face.ready(encoded(face, side)).warp is None, "as it is trained"
    appearance = quick.ready(encoded(face, side))
    motion = moving(face, appearance)
    whole = slice(0, face.size), slice(0, face.size)
    monkeypatch.setattr(mouth, "_rectangle", lambda base, height: (slice(0, height), slice(0, height)))
    monkeypatch.setattr(QuickWarp, "_rectangle", lambda self, mouth: whole)
    with Traffic() as traffic:
        everywhere = to_pixels(quick.render(appearance, motion))
    assert traffic.seen == []
    assert face.replayable(appearance) and not face.replayable(replace(appearance, warp=None))
    monkeypatch.undo()
    with Traffic() as traffic:
        where_it_matters = to_pixels(quick.render(appearance, motion))
    assert traffic.seen, "these are what is looked for"
    off = (everywhere.int() - where_it_matters.int()).abs()
    assert int(off.max()) <= 1 and float((off > 0).float().mean()) < 1e-3
