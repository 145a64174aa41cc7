"""Regions of one motion out of others: what is named changes, nothing else does, for as long as is asked."""

import pytest
import torch

from vasa.inference.regions import REGION_CONTROLS, Endless, Only, Regions
from vasa.records import CONTROL_INDEX, CONTROL_NAMES


def counting(face, length, chunk=4):
    """Motion whose every entry is its frame's number."""
    values = torch.arange(float(length))[:, None].expand(-1, face.layout.width)
    return iter(values.split(chunk))


def test_regions_and_the_head_are_all_controls_each_once():
    named = [name for names in REGION_CONTROLS.values() for name in names]
    assert sorted(named) == sorted(CONTROL_NAMES)


def test_a_shorter_motion_is_gone_through_back_and_forth(talking_face):
    source = Endless(counting(talking_face.face, 5))
    shown = torch.cat([source(first, 3)[:, 0] for first in range(0, 12, 3)])
    assert shown.tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3]
    assert Endless(counting(talking_face.face, 1))(0, 3)[:, 0].tolist() == [0, 0, 0]


def test_a_motion_is_read_no_further_than_it_is_shown(talking_face):
    chunks = counting(talking_face.face, 100)
    Endless(chunks)(0, 5)
    assert len(list(chunks)) == 23


@pytest.mark.parametrize("region", [*REGION_CONTROLS, "head"])
def test_a_region_changes_alone(talking_face, region):
    face = talking_face.face
    motion = torch.full((6, face.layout.width), 0.25)
    shown = Regions(face, {region: Endless(counting(face, 6))})(motion, 0)
    changed = {
        CONTROL_NAMES[i - 6] if i >= 6 else i for i in (shown != motion).any(0).nonzero()[:, 0].tolist()
    }
    assert changed == (set(range(6)) if region == "head" else set(REGION_CONTROLS[region]))
    assert torch.equal(motion, torch.full_like(motion, 0.25))


def test_what_is_off_the_labelled_directions_stays(tiny_runs):
    from vasa.face.volumetric.autoencoder import FaceAutoencoder

    face = FaceAutoencoder.from_pretrained(tiny_runs / "face.safetensors")
    torch.manual_seed(0)
    motion, other = torch.randn(2, 5, face.layout.width)
    shown = Regions(face, {"lips": Endless(iter([other]))})(motion, 0)
    lips = [CONTROL_INDEX[name] for name in REGION_CONTROLS["lips"]]
    rest = [i for i in range(len(CONTROL_NAMES)) if i not in lips]
    before, after, wanted = (face.controls(m) for m in (motion, shown, other))
    torch.testing.assert_close(after[:, lips], wanted[:, lips], atol=1e-4, rtol=0)
    torch.testing.assert_close(after[:, rest], before[:, rest], atol=1e-4, rtol=0)
    reading = face.dynamics_encoder.reading.weight
    moved = (shown - motion)[:, face.layout.dynamics]
    # the change lies in the span of the labelled directions: nothing off them moved
    inside = moved @ torch.linalg.pinv(reading).mm(reading).T
    torch.testing.assert_close(moved, inside, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("what", "stays"), [("pose", slice(6, None)), ("dynamics", slice(0, 6))])
def test_only_one_part_moves(talking_face, what, stays):
    face = talking_face.face
    own, motion = torch.rand(1, face.layout.width), torch.rand(4, face.layout.width)
    shown = Only(face, own, what)(motion, 0)
    kept = torch.ones(face.layout.width, dtype=torch.bool)
    kept[stays] = False
    assert torch.equal(shown[:, stays], own[:, stays].expand(4, -1))
    assert torch.equal(shown[:, kept], motion[:, kept])
