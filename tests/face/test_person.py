"""What is made of one person's kept frames: which are chosen, what they may not do, and that nothing
jumps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from vasa.checkpoint import CheckpointError, save_weights
from vasa.face.config import FaceConfig, PersonConfig
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.face.volumetric.mean_face import MEAN_LANDMARKS
from vasa.face.volumetric.person import PERSON_FILE, Person
from vasa.face.volumetric.personal_face import FULL_CHANGE, PersonalFace, with_person
from vasa.records import CONTROL_INDEX, NUM_CONTROLS

ROOT = Path(__file__).resolve().parents[2]
TINY = FaceConfig(**yaml.safe_load((ROOT / "configs/face/tiny.yaml").read_text()))
SIZE = TINY.size
SMALL = PersonConfig(frames=6, near=2, source_width=4, widths=[4, 8])


def someone(num: int = 6, side: int = SIZE) -> Person:
    """Kept frames of one brightness each, of a head that turns from frame to frame."""
    person = Person(SMALL, TINY, num, side).eval()
    bright = torch.linspace(20, 220, num)[:, None, None, None].expand(num, 3, side, side)
    person.frames.copy_(bright.to(torch.uint8))
    person.motion[:, 0] = torch.linspace(-0.3, 0.3, num)
    person.landmarks.copy_(torch.tensor(MEAN_LANDMARKS)[None])
    person.spread.fill_(1.0)
    person.low.fill_(-1.0)
    person.high.fill_(1.0)
    person.least.fill_(-1.0)
    person.most.fill_(1.0)
    return person


def shown(person: Person, yaw: torch.Tensor, far: torch.Tensor | None = None) -> torch.Tensor:
    motion, controls = torch.zeros(len(yaw), person.layout.width), torch.zeros(len(yaw), NUM_CONTROLS)
    motion[:, 0] = yaw
    pixels = person.pixels_at(person.side)
    with torch.no_grad():
        if far is None:
            return person(pixels, motion, controls)
        chosen, shares = person.nearest(motion[:, :6], controls, far)
        return person.compose(pixels, motion, controls, chosen, shares, person.motion[chosen])


def test_untrained_it_is_the_nearest_frames_weighed() -> None:
    person = someone()
    made = shown(person, torch.tensor([-0.3, 0.3]))
    kept = person.frames.float().mean((1, 2, 3)) / 127.5 - 1
    assert kept[0] - 0.01 <= made[0].mean() <= kept[2]
    assert kept[3] <= made[1].mean() <= kept[5] + 0.01


def test_a_turning_head_makes_no_jump_where_other_frames_take_over() -> None:
    yaw = torch.linspace(-0.35, 0.35, 141)
    bright = shown(someone(), yaw).mean((1, 2, 3))
    steps = bright.diff().abs()
    assert bright[-1] - bright[0] > 0.8
    assert float(steps.max()) < 0.1 * float(bright[-1] - bright[0])


def test_frames_that_are_far_away_say_nothing() -> None:
    person, far = someone(), torch.zeros(1, 6, dtype=torch.bool)
    far[0, 2] = True
    before = shown(person, torch.tensor([-0.06]), far)
    person.frames[2] = 0
    assert torch.equal(before, shown(person, torch.tensor([-0.06]), far))
    assert not torch.equal(before, shown(person, torch.tensor([-0.06])))


def test_codes_stay_within_what_the_video_showed() -> None:
    person = someone()
    wild = torch.full((1, person.layout.width), 50.0)
    assert torch.equal(person.code(wild), torch.ones_like(wild))


@pytest.mark.parametrize("side", [SIZE, 2 * SIZE + 6])
def test_gradients_reach_every_weight_and_frames_have_the_asked_size(side: int) -> None:
    torch.manual_seed(1)  # by others a narrow layer may die
    person = someone(side=side).train()
    for parameter in person.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    person.frames.copy_(torch.randint(0, 255, person.frames.shape, dtype=torch.uint8))
    motion = torch.randn(2, person.layout.width) * 0.1
    pixels = person.pixels_at(side)
    motion = motion + 0.1 * F.normalize(person.read(pixels.small[:2]), dim=1)
    image = person(pixels, motion, 0.01 * person.said(motion))
    assert image.shape == (2, 3, side, side)
    image.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in person.parameters())
    idle = [name for name, p in person.named_parameters() if not p.grad.abs().sum() > 0]
    assert not idle


@pytest.fixture(scope="module")
def space() -> FaceAutoencoder:
    return FaceAutoencoder(TINY).eval().requires_grad_(False)


def of(space: FaceAutoencoder) -> Person:
    return Person(SMALL, space.config, 6, space.size).eval()


def test_a_file_is_read_back_and_another_face_spaces_is_refused(
    space: FaceAutoencoder, tmp_path: Path
) -> None:
    assert with_person(space, tmp_path) is space
    person = of(space)
    person.motion.normal_()
    save_weights(tmp_path / PERSON_FILE, person.state_dict(), person.describe(), {})
    face = with_person(space, tmp_path)
    assert isinstance(face, PersonalFace)
    assert all(torch.equal(a, b) for a, b in zip(face.person.buffers(), person.buffers(), strict=True))
    other = Person(SMALL, replace(TINY, dynamics_dim=TINY.dynamics_dim + 1), 6, SIZE)
    save_weights(tmp_path / PERSON_FILE, other.state_dict(), other.describe(), {})
    with pytest.raises(CheckpointError, match="was made for a face space of"):
        with_person(space, tmp_path)
    save_weights(tmp_path / PERSON_FILE, {"a": torch.ones(1)}, {"face": {}}, {})
    with pytest.raises(CheckpointError, match="is no person"):
        with_person(space, tmp_path)


def test_the_portrait_is_known_by_its_pixels_and_shows_itself_at_rest(space: FaceAutoencoder) -> None:
    person = of(space)
    person.frames.copy_(torch.randint(0, 255, person.frames.shape, dtype=torch.uint8))
    person.motion.normal_(std=0.1)
    person.controls.copy_(space.controls(person.motion))
    person.controls[:, CONTROL_INDEX["jaw"]] = 0.1  # ajar, as some faces rest
    person.motion.copy_(space.set_controls(person.motion, person.controls))
    person.landmarks.copy_(torch.tensor(MEAN_LANDMARKS)[None])
    person.spread.fill_(1.0)
    person.least.fill_(-2.0)
    person.most.fill_(2.0)
    person.portrait.fill_(2)
    face = PersonalFace(space, person)
    assert face.is_portrait(np.array(face.portrait))
    assert not face.is_portrait(255 - face.portrait)
    kept, gone = face.encode_person(space.size, 0.0), face.encode_person(space.size, 1.0)
    assert float(kept.rest.abs().max()) == 0
    assert float(gone.rest[0, CONTROL_INDEX["jaw"]]) == pytest.approx(0.1)
    said = [float(space.controls(face.own_motion(a))[0, CONTROL_INDEX["jaw"]]) for a in (kept, gone)]
    assert said == pytest.approx([0.1, 0.0], abs=1e-4)
    same = [face.render(a, face.own_motion(a)) for a in (kept, gone)]
    assert torch.allclose(*same, atol=2e-3)
    held = face.render(face.hold_edges(kept), face.own_motion(kept) + 0.1)
    frame = person.frames[2].float() / 127.5 - 1
    for edge in (0, -1):
        assert torch.allclose(held[0, :, edge], frame[:, edge], atol=0.02)
    assert not torch.allclose(held[0], frame, atol=0.2)


def still_eyed(space: FaceAutoencoder) -> PersonalFace:
    """Of somebody whose video shows hardly any movement."""
    person = of(space)
    person.frames.copy_(torch.randint(0, 255, person.frames.shape, dtype=torch.uint8))
    person.landmarks.copy_(torch.tensor(MEAN_LANDMARKS)[None])
    person.spread.fill_(1.0)
    person.least.fill_(-0.1)
    person.most.fill_(0.1)
    return PersonalFace(space, person)


def test_eyes_that_go_farther_than_in_the_video_move_as_the_face_space_moves_them(
    space: FaceAutoencoder,
) -> None:
    face = still_eyed(space)
    person, someone = face.person, face.encode_person(space.size)
    gaze, jaw = torch.zeros(2, 1, NUM_CONTROLS).unbind(0)
    gaze[0, CONTROL_INDEX["gaze_yaw"]], jaw[0, CONTROL_INDEX["jaw"]] = 0.5, 0.5
    still = torch.zeros(1, person.layout.width)
    away, edge = (face.set_controls(still, share * gaze) for share in (1.0, 0.2))
    change = face.render(someone, away) - face.render(someone, edge)
    theirs = space.render(someone.plain, away) - space.render(someone.plain, edge)
    assert float(theirs.abs().max()) > 0.01
    inside = (face.render(someone, edge).abs() < 0.5) & (theirs.abs() < 0.4)  # where no sum is cut
    assert torch.allclose(change[inside], theirs[inside], atol=1e-4)
    opened = face.set_controls(still, jaw)
    assert torch.equal(face.render(someone, opened), person(someone.pixels, opened, space.controls(opened)))


def test_lids_that_close_farther_than_in_the_video_are_the_face_spaces(space: FaceAutoencoder) -> None:
    face = still_eyed(space)
    person, someone = face.person, face.encode_person(space.size)
    lids, still = torch.zeros(1, NUM_CONTROLS), torch.zeros(1, person.layout.width)
    lids[0, [CONTROL_INDEX["blink_left"], CONTROL_INDEX["blink_right"]]] = 1.0
    shut, edge = (face.set_controls(still, share * lids) for share in (1.0, 0.1))
    theirs = space.render(someone.plain, shut)
    change = (theirs - space.render(someone.plain, edge)).abs().amax(1, keepdim=True)
    whole = -F.max_pool2d(-change, 3, 1, 1) > FULL_CHANGE  # all about there changes as much
    none = F.max_pool2d(change, 7, 1, 3) < 1e-6
    assert whole.any() and none.any()
    made = face.render(someone, shut)
    torch.testing.assert_close(made[whole.expand_as(made)], theirs[whole.expand_as(made)], atol=1e-4, rtol=0)
    before = face.render(someone, edge)
    torch.testing.assert_close(made[none.expand_as(made)], before[none.expand_as(made)], atol=1e-4, rtol=0)


def test_eyes_and_mouth_come_from_the_frames_that_show_them() -> None:
    person = someone()
    person.motion[:, 0] = 0
    person.controls[0, CONTROL_INDEX["blink_left"]] = person.controls[0, CONTROL_INDEX["blink_right"]] = 1.0
    person.controls[5, CONTROL_INDEX["jaw"]] = 1.0
    both = torch.zeros(1, NUM_CONTROLS)
    for name in ("blink_left", "blink_right", "jaw"):
        both[0, CONTROL_INDEX[name]] = 1.0
    chosen, shares = person.nearest(torch.zeros(1, 6), both)
    assert torch.allclose(shares.sum(-1), torch.ones(1, 2))
    upper, lower = (int(chosen[0, int(shares[0, part].argmax())]) for part in (0, 1))
    assert (upper, lower) == (0, 5)
