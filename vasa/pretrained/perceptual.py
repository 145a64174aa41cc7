"""LPIPS (Zhang et al. 2018, v0.1 with AlexNet) from local files: nothing is ever downloaded.

Its linear weights come with the lpips package; AlexNet's are torchvision's published file.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import lpips

from vasa.checkpoint import load_into
from vasa.pretrained.third_party import read_state_dict


def load_lpips(alexnet: str | Path) -> lpips.LPIPS:
    """LPIPS, frozen. Called with two batches (B, 3, H, W) in [-1, 1] it gives (B, 1, 1, 1).

    alexnet: torchvision's ``alexnet-owt-7be5be79.pth``, of which only the convolutions are used.
    Raises: FileNotFoundError; CheckpointError listing missing and unexpected keys.
    """
    trunk = read_state_dict(alexnet, "AlexNet")
    heads = read_state_dict(Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth", "LPIPS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision by a deprecated argument
        network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    own = network.state_dict()
    published = {"features." + key.split(".", 2)[2]: key for key in own if key.startswith("net.slice")}
    tensors = {key: own[key] for key in own if key.startswith("scaling_layer.")}  # constants of the method
    tensors |= heads | {key.replace("lin", "lins.", 1): value for key, value in heads.items()}
    tensors |= {published.get(key, key): v for key, v in trunk.items() if not key.startswith("classifier.")}
    load_into(network, tensors, f"LPIPS with AlexNet from {alexnet}")
    return network.eval().requires_grad_(False)
