"""The five networks of the space together: as a file of ours, and by the names of the published files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vasa.checkpoint import CheckpointError, load_into, load_weights, save_weights
from vasa.face.keypoints.config import SPECIES
from vasa.face.keypoints.extractor import AppearanceExtractor, MotionExtractor
from vasa.face.keypoints.generator import SpadeGenerator
from vasa.face.keypoints.stitching import Retargeting
from vasa.face.keypoints.warping import WarpingModule

KIND = "keypoints"
PUBLISHED = {
    "appearance": "appearance_feature_extractor",
    "motion": "motion_extractor",
    "warping": "warping_module",
    "generator": "spade_generator",
    "retargeting": "stitching_retargeting_module",
}
"""Names of the published files, without .pth."""
NARROW = (1, 2, 4, 8)
RETARGETING_PARTS = {"retarget_shoulder": "stitching", "retarget_mouth": "lip", "retarget_eye": "eye"}
WRAPPERS = ("state_dict", "model", "model_state_dict")
NEW_SPECTRAL = {
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}


class KeypointNetworks(nn.Module):
    """F, M, W, G and S, plain. species: whose weights they are. narrow: divides every width of F, M, W and G;
    the published ones have 1, and tests more.
    """

    def __init__(self, species: str = "human", narrow: int = 1) -> None:
        super().__init__()
        if species not in SPECIES:
            raise ValueError(f"species is {species!r}; wanted one of {', '.join(SPECIES)}.")
        if narrow not in NARROW:
            raise ValueError(f"narrow is {narrow}; wanted one of {', '.join(map(str, NARROW))}.")
        self.species, self.narrow = species, narrow
        self.appearance, self.motion = AppearanceExtractor(narrow), MotionExtractor(narrow)
        self.warping, self.generator = WarpingModule(narrow), SpadeGenerator(narrow)
        self.retargeting = Retargeting()

    @classmethod
    def empty(cls, species: str = "human", narrow: int = 1) -> KeypointNetworks:
        """Networks to be loaded: their weights are whatever memory held."""
        with torch.device("meta"):
            networks = cls(species, narrow)
        return networks.to_empty(device="cpu")

    def describe(self) -> dict[str, Any]:
        """The configuration as plain data, as ``from_pretrained`` reads it."""
        return {"space": KIND, "species": self.species, "narrow": self.narrow}

    def save(self, path: Path, meta: Mapping[str, Any]) -> str:
        """Writes the file and returns its content hash."""
        return save_weights(path, self.state_dict(), self.describe(), meta)

    @classmethod
    def from_pretrained(cls, path: Path | str) -> KeypointNetworks:
        """Raises: what vasa.checkpoint raises; CheckpointError for a file of another face space."""
        weights = load_weights(path)
        if weights.config.get("space") != KIND:
            raise CheckpointError(
                f"{path} holds no keypoint face space; wanted one made by scripts/weights.py."
            )
        networks = cls.empty(weights.config["species"], weights.config["narrow"])
        load_into(networks, weights, "the keypoint networks")
        return networks.eval().requires_grad_(False)

    def load_published(self, part: str, content: Mapping[str, Any], name: str) -> None:
        """Tensors of one published file into the part of PUBLISHED, strictly.

        content: the file as it was read. name: the file, for messages. Raises: CheckpointError.
        """
        network = self.get_submodule(part)
        tensors = split_retargeting(content, name) if part == "retargeting" else unwrapped(content, name)
        if part == "motion" and not any(key.startswith("detector.") for key in tensors):
            tensors = {f"detector.{key}": value for key, value in tensors.items()}
        load_into(network, tensors, name)


def split_retargeting(content: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """The file of three MLPs under our names. Whatever else it holds is ignored: files carry more."""
    found: dict[str, Tensor] = {}
    for theirs, ours in RETARGETING_PARTS.items():
        part = content.get(theirs)
        if not isinstance(part, Mapping):
            raise CheckpointError(f"{name} has no {theirs}; wanted {', '.join(RETARGETING_PARTS)} in it.")
        found |= {f"{ours}.{key}": value for key, value in unwrapped(part, name).items()}
    return found


def unwrapped(content: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """A flat state dict: nesting undone, "module." taken out of names, spectral norm in its older spelling.

    Raises: CheckpointError when the content is anything else.
    """
    for wrapper in WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping):
            return unwrapped(inner, name)
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange or not content:
        raise CheckpointError(f"{name} is no state dict: {', '.join(strange[:6]) or 'nothing'} in it.")
    found = {}
    for key, value in content.items():
        key = str(key).replace("module.", "")
        for new, old in NEW_SPECTRAL.items():
            if key.endswith(new):
                key = key.removesuffix(new) + old
        found[key] = value
    return found
