"""FAN: the published file by its own names, peaks as face-alignment reads them, and where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError
from vasa.pretrained.fan import CELLS, SIZE, STACKS, FanNet, peaks


def published() -> dict[str, Tensor]:
    """Tensors by the names of the published file, each of one number that is stored once."""
    from face_alignment.models import FAN

    with torch.device("meta"):
        names = FAN(STACKS).state_dict()
    return {n: torch.tensor(1.0 if "var" in n else 0.01).expand(t.shape) for n, t in names.items()}


def test_the_published_file_loads_and_another_is_refused(tmp_path: Path) -> None:
    tensors = published()
    torch.save(tensors, tmp_path / "3DFAN4.pth.tar")
    network = FanNet.from_published(tmp_path / "3DFAN4.pth.tar")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    found = network.landmarks(torch.rand(1, 3, 64, 64) * 2 - 1, torch.rand(1, 68, 2) - 0.5)
    assert found.shape == (1, 68, 2) and bool(found.isfinite().all())
    torch.save({"state_dict": tensors}, tmp_path / "depth.pth.tar")  # as its network for the depth is stored
    with pytest.raises(CheckpointError, match="FAN"):
        FanNet.from_published(tmp_path / "depth.pth.tar")
    with pytest.raises(FileNotFoundError, match="FAN"):
        FanNet.from_published(tmp_path / "nothing.pth.tar")


def test_peaks_are_those_of_face_alignment() -> None:
    from face_alignment.utils import _get_preds_fromhm

    maps = torch.rand(2, 5, CELLS, CELLS, generator=torch.Generator().manual_seed(0))
    maps[0, 0, 0, 7] = maps[0, 1, 63, 63] = maps[1, 2, 30, 0] = 2.0  # at edges there is no step
    best = maps.numpy().reshape(2, 5, -1).argmax(-1)
    theirs, _ = _get_preds_fromhm.py_func(maps.numpy(), best)
    torch.testing.assert_close(peaks(maps), torch.from_numpy(theirs).float() / CELLS * 2 - 1)


class Bright(nn.Module):
    """Says of every landmark that it is where the picture is brightest."""

    def forward(self, pictures: Tensor) -> list[Tensor]:
        assert pictures.shape[1:] == (3, SIZE, SIZE) and pictures.min() >= 0 and pictures.max() <= 1
        small = F.avg_pool2d(pictures.mean(1, keepdim=True), SIZE // CELLS)
        return [small.expand(-1, 68, -1, -1)]


@pytest.mark.parametrize("size", [128, 512])
def test_landmarks_come_back_to_the_picture(size: int) -> None:
    """A bright spot in a dark picture, seen in a crop around a face that is not in the middle."""
    network = FanNet()
    network.layers = Bright()
    u, v = 0.3, -0.2
    grid = (torch.arange(size) + 0.5) / size * 2 - 1
    spot = (-((grid[None, :] - u) ** 2 + (grid[:, None] - v) ** 2) / (2 * 0.03**2)).exp()
    rough = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0)) * 0.8 - torch.tensor([0.2, 0.6])
    found = network.landmarks((spot * 2 - 1).expand(1, 3, size, size), rough)
    wanted = torch.tensor([u, v]).expand_as(found)
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)  # a cell is 0.03
