"""The sizes of MegaPortraits layer by layer, the budgets of the real-time sizes, and smaller images under the
same weights: on tensors without data, except for the last.
"""

from __future__ import annotations

import pytest
import torch
import yaml

from vasa.benchmark.cost import FaceCost, count
from vasa.benchmark.meter import fake_tensors
from vasa.config import CONFIGS
from vasa.face.config import FaceConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.warping import identity_grid


def config(name: str, **changes: object) -> FaceConfig:
    text = (CONFIGS / "face" / f"{name}.yaml").read_text()
    return FaceConfig(**{**(yaml.safe_load(text) or {}), **changes})


def shapes_of(face: FaceAutoencoder, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Output shapes, without the batch, of the named modules while a portrait becomes a frame."""
    found: dict[str, tuple[int, ...]] = {}
    for name in names:

        def note(module: object, args: object, out: object, name: str = name) -> None:
            out = out[0] if isinstance(out, tuple) else out
            found[name] = tuple(out.shape[1:])

        face.get_submodule(name).register_forward_hook(note)
    size = face.config.size
    appearance = face.encode(torch.zeros(1, 3, size, size))
    face.render(appearance, face.own_motion(appearance))
    return found


PAPER = {
    # E_app, figure 9a
    "appearance_encoder.stem": (64, 512, 512),
    "appearance_encoder.blocks.0": (128, 512, 512),
    "appearance_encoder.blocks.1": (256, 256, 256),
    "appearance_encoder.blocks.2": (512, 128, 128),
    "appearance_encoder.to_volume": (1536, 64, 64),
    "appearance_encoder.volume_blocks.2": (96, 16, 64, 64),
    # descriptor and motion
    "identity_encoder": (512, 4, 4),
    "pose_encoder": (6,),
    "dynamics_encoder": (512,),
    # warp generator, figure 9b: each block before its doubling
    "driver_warp.start": (2048, 4, 4),
    "driver_warp.blocks.0": (256, 4, 4, 4),
    "driver_warp.blocks.1": (128, 8, 8, 8),
    "driver_warp.blocks.2": (64, 16, 16, 16),
    "driver_warp.blocks.3": (32, 16, 32, 32),
    "driver_warp": (3, 16, 64, 64),
    "source_warp": (3, 16, 64, 64),
    # G3D, figure 9c: the depth grows on the way down
    "refiner.down.0": (192, 16, 64, 64),
    "refiner.down.1": (384, 32, 32, 32),
    "refiner.down.2": (512, 16, 16, 16),
    "refiner.middle": (512, 16, 16, 16),
    "refiner.up.1": (384, 16, 16, 16),
    "refiner.skips.1": (384, 32, 32, 32),
    "refiner.up.0": (192, 32, 32, 32),
    "refiner.skips.0": (192, 16, 64, 64),
    "refiner.last": (96, 16, 64, 64),
    "refiner": (96, 16, 64, 64),
    # P and G2D, figure 9d
    "decoder.project": (512, 64, 64),
    "decoder.blocks.7": (512, 64, 64),
    "decoder.ups.0": (256, 128, 128),
    "decoder.ups.1": (128, 256, 256),
    "decoder.ups.2": (64, 512, 512),
    "decoder.out": (3, 512, 512),
}
PAPER_256 = {
    "appearance_encoder.stem": (128, 256, 256),
    "appearance_encoder.volume_blocks.2": (96, 16, 64, 64),
    "decoder.blocks.7": (512, 64, 64),
    "decoder.ups.1": (128, 256, 256),
    "decoder.out": (3, 256, 256),
}


@pytest.mark.parametrize(("name", "wanted"), [("paper", PAPER), ("paper_256", PAPER_256)])
def test_every_layer_of_the_paper_has_its_size(name: str, wanted: dict[str, tuple[int, ...]]) -> None:
    with fake_tensors(), torch.no_grad():
        face = FaceAutoencoder(config(name))
        assert shapes_of(face, list(wanted)) == wanted
        assert sum(isinstance(m, torch.nn.Conv3d) for m in face.appearance_encoder.modules()) == 6
        millions = sum(p.numel() for p in face.parameters()) / 1e6
    assert 195 < millions < 215, "VASA-1: about 200 M"


def test_the_papers_own_sizes_are_the_defaults() -> None:
    assert config("paper") == FaceConfig()


BUDGETS = {"default": (120, 200, 2.0), "fast": (60, 100, 1.0)}


@pytest.fixture(scope="module", params=BUDGETS)
def counted(request: pytest.FixtureRequest) -> tuple[str, FaceCost]:
    return request.param, count(config(request.param))


def test_real_time_sizes_stay_within_their_budgets(counted: tuple[str, FaceCost]) -> None:
    name, cost = counted
    gflop, peak_mib, traffic_gb = BUDGETS[name]
    assert 0.7 * gflop < cost.frame.flops / 1e9 <= gflop, "a budget left unspent is quality left out"
    assert cost.frame.peak / 2**20 <= peak_mib
    assert cost.frame.traffic / 1e9 <= traffic_gb


@pytest.mark.parametrize("name", BUDGETS)
def test_real_time_frames_have_nothing_wide_at_full_size(name: str) -> None:
    seen: list[tuple[int, ...]] = []
    with fake_tensors(), torch.no_grad():
        cfg = config(name)
        face = FaceAutoencoder(cfg)
        appearance = face.encode(torch.zeros(1, 3, cfg.size, cfg.size))
        for module in face.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
                module.register_forward_hook(lambda m, args, out: seen.extend([args[0].shape, out.shape]))
        face.render(appearance, face.own_motion(appearance))
    full_volumes = [s for s in seen if len(s) == 5 and s[-1] == cfg.volume_size]
    assert full_volumes and max(s[1] for s in full_volumes) <= 32
    assert cfg.pixel_shuffle in (2, 4) and not cfg.source_pixels
    assert max(s[-1] for s in seen) <= 256, "nothing but the head's sub-pixels has 512 px"


def smooth_volume(face: FaceAutoencoder, side: int) -> torch.Tensor:
    """Waves of position, the same at every resolution."""
    grid = identity_grid(face.config.volume_depth, side).permute(3, 0, 1, 2)
    return torch.cat([torch.sin(2 * grid), torch.cos(2 * grid[:1])])[None]


def test_half_and_quarter_size_run_on_the_same_weights_in_the_same_places() -> None:
    changes = {"appearance_widths": [8, 12, 16], "decoder_up_widths": [16, 16]}
    face = FaceAutoencoder(config("tiny", size=128, source_pixels=False, **changes)).eval()
    torch.nn.init.normal_(face.driver_warp.out.weight, std=0.1)
    pose, dynamics = torch.tensor([[0.4, 0.2, 0.1, 0.05, 0.0, 0.1]]), torch.randn(1, 16)
    posed = {}
    for size in (128, 64, 32):
        image = torch.rand(1, 3, size, size) * 2 - 1
        appearance = face.encode_with(image, image, pose, dynamics)
        side = size // 8
        assert appearance.volume.shape[2:] == (4, side, side)
        frame = face.decode(appearance, pose, dynamics).image
        assert frame.shape == (1, 3, size, size)
        appearance.volume = smooth_volume(face, side)
        appearance.identity = torch.ones_like(appearance.identity)
        posed[size] = face._posed_volume(appearance, pose, dynamics)
    for size, fold in ((64, 2), (32, 4)):
        wanted = torch.nn.functional.avg_pool3d(posed[128], (1, fold, fold))
        inner = (..., slice(1, -1), slice(1, -1))  # zeros beyond the border count in the pooling
        assert (posed[size] - wanted)[inner].abs().mean() < 0.05
        assert (posed[size].flip(-1) - wanted)[inner].abs().mean() > 0.2, "the measure must see a wrong warp"
    frame.mean().backward()
    assert face.driver_warp.blocks[0].conv1.weight.grad is not None


@pytest.mark.parametrize(("pixels", "size"), [(False, 96), (False, 16), (True, 32)])
def test_images_of_no_supported_size_are_refused(pixels: bool, size: int) -> None:
    face = FaceAutoencoder(config("tiny", source_pixels=pixels))
    image = torch.zeros(1, 3, size, size)
    if not pixels and size == 16:
        assert face.encode_with(image, image, torch.zeros(1, 6), torch.zeros(1, 16)).volume.shape[-1] == 4
        return
    with pytest.raises(ValueError, match="images of .* for a network of face.size=64"):
        face.encode_with(image, image, torch.zeros(1, 6), torch.zeros(1, 16))
