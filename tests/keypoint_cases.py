"""Keypoint networks with made-up weights, narrow enough for tests."""

import torch

from vasa.face.keypoints.networks import KeypointNetworks

NARROW = 8


def made_up(species="human"):
    """Keypoint networks whose keypoints and scale are in a face's range."""
    torch.manual_seed(0)
    networks = KeypointNetworks(species, NARROW).eval()
    heads = networks.motion.detector
    with torch.no_grad():
        heads.fc_scale.weight.mul_(0.1)
        heads.fc_scale.bias.fill_(1.3)
        heads.fc_exp.weight.mul_(0.1)
        heads.fc_kp.bias.uniform_(-0.7, 0.7)
    return networks
