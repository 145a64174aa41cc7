"""The Inception network that FID is defined by (Heusel et al. 2017), from a local file, by torch-fidelity.

That port resizes as TensorFlow 1 did and agrees with the original; torchvision's Inception is another one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError
from vasa.pretrained.third_party import read_state_dict

FEATURES_DIM = 2048


class FidInception(nn.Module):
    """Frames uint8 (B, 3, H, W) of any size -> features (B, 2048) of the last pooling."""

    def __init__(self, path: str | Path) -> None:
        """path: ``weights-inception-2015-12-05-6726825d.pth``.

        Raises: FileNotFoundError; CheckpointError listing missing and unexpected keys.
        """
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        # Its constructor would unpickle anything, so the file must first prove to hold tensors alone.
        read_state_dict(path, "FID's Inception")
        try:
            self.network = FeatureExtractorInceptionV3(
                "fid", ["2048"], feature_extractor_weights_path=str(path)
            )
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not fit FID's Inception: {error}") from error

    def forward(self, frames: Tensor) -> Tensor:
        if frames.dtype != torch.uint8:
            raise ValueError(f"frames are {frames.dtype}; FID's Inception wants uint8 (B, 3, H, W).")
        return self.network(frames)[0]
