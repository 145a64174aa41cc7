"""G: the warped feature (B, 256, 64, 64) -> picture (B, 3, 512, 512) in 0..1, by SPADE blocks (Park et al.
2019) whose segmentation map is the feature itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.keypoints.warping import FEATURES

HIDDEN, LAST, MIDDLE, LEAK = 128, 64, 6, 0.2
POWER_STEPS = 3
"""Of new weights, towards their largest singular value."""


class SpectralConv(nn.Module):
    """A convolution whose weight is divided by its largest singular value, u (W v), of the STORED u and v:
    nothing is iterated. Miyato et al. 2018, as files of the older spelling keep it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("weight_u", torch.empty(outputs))
        self.register_buffer("weight_v", torch.empty(inputs * kernel * kernel))
        self.weight_u: Tensor
        self.weight_v: Tensor
        nn.init.kaiming_uniform_(self.weight_orig, a=5**0.5)
        if self.weight_orig.is_meta:
            return  # weights that will be loaded, and torch is slow to iterate over none
        matrix = self.weight_orig.detach().flatten(1)
        left = F.normalize(matrix.sum(1), dim=0)
        for _ in range(POWER_STEPS):
            right = F.normalize(matrix.T @ left, dim=0)
            left = F.normalize(matrix @ right, dim=0)
        self.weight_u.copy_(left)
        self.weight_v.copy_(right)

    @property
    def weight(self) -> Tensor:
        return self.weight_orig / torch.dot(self.weight_u, self.weight_orig.flatten(1) @ self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight_orig.shape[-1] // 2)


class Spade(nn.Module):
    """Instance norm without parameters, whose scale and shift a feature says at every place."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        hidden = HIDDEN // narrow
        self.mlp_shared = nn.Sequential(nn.Conv2d(FEATURES // narrow, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        said = self.mlp_shared(F.interpolate(feature, x.shape[2:]))
        return F.instance_norm(x) * (1 + self.mlp_gamma(said)) + self.mlp_beta(said)


class SpadeBlock(nn.Module):
    """Residual block of two SPADEs, and a third on the shortcut where widths differ."""

    def __init__(self, inputs: int, outputs: int, narrow: int) -> None:
        super().__init__()
        inputs, outputs = inputs // narrow, outputs // narrow
        middle = min(inputs, outputs)
        self.conv_0, self.conv_1 = SpectralConv(inputs, middle, 3), SpectralConv(middle, outputs, 3)
        self.norm_0, self.norm_1 = Spade(inputs, narrow), Spade(middle, narrow)
        self.widens = inputs != outputs
        if self.widens:
            self.conv_s, self.norm_s = SpectralConv(inputs, outputs, 1, bias=False), Spade(inputs, narrow)

    @property
    def norms(self) -> list[Spade]:
        return [self.norm_0, self.norm_1, *([self.norm_s] if self.widens else [])]

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        short = self.conv_s(self.norm_s(x, feature)) if self.widens else x
        inner = self.conv_0(F.leaky_relu(self.norm_0(x, feature), LEAK))
        return short + self.conv_1(F.leaky_relu(self.norm_1(inner, feature), LEAK))


class SpadeGenerator(nn.Module):
    """G. narrow divides every width."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        self.fc = nn.Conv2d(FEATURES // narrow, 2 * FEATURES // narrow, 3, padding=1)
        for number in range(MIDDLE):
            self.add_module(f"G_middle_{number}", SpadeBlock(2 * FEATURES, 2 * FEATURES, narrow))
        self.up_0, self.up_1 = SpadeBlock(2 * FEATURES, FEATURES, narrow), SpadeBlock(FEATURES, LAST, narrow)
        self.conv_img = nn.Sequential(nn.Conv2d(LAST // narrow, 12, 3, padding=1), nn.PixelShuffle(2))

    @property
    def middle(self) -> list[SpadeBlock]:
        """The blocks before any repetition, in order."""
        found = [self.get_submodule(f"G_middle_{number}") for number in range(MIDDLE)]
        return [block for block in found if isinstance(block, SpadeBlock)]

    @property
    def to_image(self) -> nn.Conv2d:
        """The last convolution."""
        last = self.conv_img[0]
        assert isinstance(last, nn.Conv2d)
        return last

    def forward(self, feature: Tensor) -> Tensor:
        x = self.fc(feature)
        for block in self.middle:
            x = block(x, feature)
        x = self.up_0(F.interpolate(x, scale_factor=2), feature)
        x = self.up_1(F.interpolate(x, scale_factor=2), feature)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, LEAK)))
