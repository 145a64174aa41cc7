"""G: the warped feature (B, 256, 64, 64) -> picture (B, 3, 512, 512) in 0..1, by SPADE blocks (Park et al. 2019)
whose segmentation map is the feature itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vasa.face.keypoints.warping import FEATURES

HIDDEN, MIDDLE, LEAK = 128, 6, 0.2


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
        left, _, right = torch.linalg.svd(self.weight_orig.detach().flatten(1), full_matrices=False)
        self.weight_u.copy_(left[:, 0])
        self.weight_v.copy_(right[0])

    @property
    def weight(self) -> Tensor:
        return self.weight_orig / torch.dot(self.weight_u, self.weight_orig.flatten(1) @ self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight_orig.shape[-1] // 2)


class Spade(nn.Module):
    """Instance norm without parameters, whose scale and shift a feature says at every place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(FEATURES, HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(HIDDEN, channels, 3, padding=1)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        said = self.mlp_shared(F.interpolate(feature, x.shape[2:]))
        return F.instance_norm(x) * (1 + self.mlp_gamma(said)) + self.mlp_beta(said)


class SpadeBlock(nn.Module):
    """Residual block of two SPADEs, and a third on the shortcut where widths differ."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.conv_0, self.conv_1 = SpectralConv(inputs, middle, 3), SpectralConv(middle, outputs, 3)
        self.norm_0, self.norm_1 = Spade(inputs), Spade(middle)
        self.widens = inputs != outputs
        if self.widens:
            self.conv_s, self.norm_s = SpectralConv(inputs, outputs, 1, bias=False), Spade(inputs)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        short = self.conv_s(self.norm_s(x, feature)) if self.widens else x
        inner = self.conv_0(F.leaky_relu(self.norm_0(x, feature), LEAK))
        return short + self.conv_1(F.leaky_relu(self.norm_1(inner, feature), LEAK))


class SpadeGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(FEATURES, 2 * FEATURES, 3, padding=1)
        for number in range(MIDDLE):
            self.add_module(f"G_middle_{number}", SpadeBlock(2 * FEATURES, 2 * FEATURES))
        self.up_0, self.up_1 = SpadeBlock(2 * FEATURES, FEATURES), SpadeBlock(FEATURES, 64)
        self.conv_img = nn.Sequential(nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, feature: Tensor) -> Tensor:
        x = self.fc(feature)
        for number in range(MIDDLE):
            x = self.get_submodule(f"G_middle_{number}")(x, feature)
        x = self.up_0(F.interpolate(x, scale_factor=2), feature)
        x = self.up_1(F.interpolate(x, scale_factor=2), feature)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, LEAK)))
