"""The meter: known operations have known costs, fake tensors cost what real ones do, and the peak is the
allocator's.
"""

from __future__ import annotations

from itertools import accumulate

import torch
import yaml
from torch import nn
from torch.profiler import ProfilerActivity, profile

from vasa.benchmark.cost import count, ready_face
from vasa.benchmark.meter import cost_of, fake_tensors
from vasa.config import CONFIGS
from vasa.face.config import FaceConfig
from vasa.nn.blocks import ResBlock2d, fold


def tiny() -> FaceConfig:
    values = yaml.safe_load((CONFIGS / "face" / "tiny.yaml").read_text())
    return FaceConfig(**{**values, "source_pixels": False})


def test_known_operations_have_known_costs() -> None:
    layer, x = nn.Linear(8, 4, bias=False), torch.zeros(16, 8)
    cost = cost_of(lambda: layer(x), layer)
    assert (cost.flops, cost.parameters) == (2 * 16 * 8 * 4, 32)
    assert cost.traffic == 4 * (16 * 8 + 8 * 4 + 16 * 4)  # the transposed weight is a view
    assert cost.peak == 4 * 16 * 4


def test_views_are_free_and_repeated_tensors_count_as_stored() -> None:
    x = torch.zeros(1, 100)
    cost = cost_of(lambda: x.expand(50, 100).view(50, 10, 10).sum())
    assert cost.traffic == 4 * (100 + 1)
    assert cost.peak == 4


def test_what_is_dropped_leaves_the_peak() -> None:
    def chain(steps: int) -> torch.Tensor:
        x = torch.zeros(1000)
        for _ in range(steps):
            x = x + 1
        return x

    assert cost_of(lambda: chain(2)).peak == cost_of(lambda: chain(9)).peak == 2 * 4000


def test_fake_and_real_tensors_cost_the_same() -> None:
    config = tiny()
    face = ready_face(config)
    image, motion = torch.zeros(1, 3, config.size, config.size), torch.zeros(1, face.layout.width)
    with torch.no_grad():
        appearance = face.encode(image)
    real = cost_of(lambda: face.render(appearance, motion), face)
    fake = count(config).frame
    assert (real.flops, real.traffic, real.parameters) == (fake.flops, fake.traffic, fake.parameters)
    assert real.peak == fake.peak


def test_the_peak_is_the_allocators_but_for_the_inside_of_operations() -> None:
    """A convolution on a CPU reorders its input: one more tensor of the largest size at most."""
    blocks, x = nn.Sequential(ResBlock2d(32, 32), ResBlock2d(32, 16)), torch.zeros(1, 32, 128, 128)
    fold(blocks)
    counted = cost_of(lambda: blocks(x), blocks).peak
    with torch.no_grad():
        blocks(x)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            blocks(x)
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    levels = accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))
    assert counted <= max(levels) <= counted + 1.1 * x.nbytes


def test_half_precision_halves_traffic() -> None:
    with fake_tensors():
        full, half = (nn.Linear(64, 64, bias=False, dtype=kind) for kind in (torch.float32, torch.bfloat16))
        x, y = torch.zeros(64, 64), torch.zeros(64, 64, dtype=torch.bfloat16)
        assert cost_of(lambda: half(y)).traffic == cost_of(lambda: full(x)).traffic / 2
