"""Who a clip shows: a mean of unit length, and a second person pulls the agreement down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.preprocess.identity import LOOKS, clip_identity, embed_by, mean_identity
from vasa.pretrained.config import IdentityNetConfig
from vasa.pretrained.files import save_network
from vasa.pretrained.identity import IdentityNet


def test_the_mean_is_a_unit_vector_and_another_person_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    person, other = F.normalize(torch.randn(2, 64, generator=generator), dim=1)
    looks = F.normalize(person + 0.05 * torch.randn(8, 64, generator=generator), dim=1)
    one = mean_identity(looks)
    assert one.embedding.norm() == pytest.approx(1, abs=1e-5) and one.embedding @ person > 0.95
    assert one.agreement > 0.8
    looks[7] = other
    assert mean_identity(looks).agreement < 0.5
    assert mean_identity(looks[:1]).agreement == 1


def test_looks_are_spread_over_the_clip() -> None:
    shown: list[Tensor] = []

    def embed(frames: np.ndarray, landmarks: Tensor) -> Tensor:
        assert np.array_equal(frames[:, 0, 0, 0], landmarks[:, 0, 0].numpy())
        shown.append(landmarks[:, 0, 0])
        return F.normalize(torch.ones(len(frames), 4), dim=1)

    for num in (3, 200):
        frames = np.zeros((num, 8, 8, 3), np.uint8)
        frames[:] = np.arange(num)[:, None, None, None]
        points = torch.arange(float(num)).view(-1, 1, 1).expand(-1, 68, 2)
        assert clip_identity(embed, frames, points).agreement == pytest.approx(1)
    assert shown[0].tolist() == [0, 1, 2]
    assert len(shown[1]) == LOOKS and shown[1][0] == 0 and shown[1][-1] == 199


def test_our_own_network_embeds_frames(tmp_path: Path) -> None:
    path = tmp_path / "teacher_identity.safetensors"
    save_network(IdentityNet(IdentityNetConfig(widths=[8, 8, 12, 16], embedding_dim=8)), path, {})
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = embed_by(path)(frames, torch.rand(3, 68, 2) - 0.5)
    assert found.shape == (3, 8)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    with pytest.raises(FileNotFoundError, match="w600k_r50.onnx"):
        embed_by(tmp_path / "w600k_r50.onnx")
