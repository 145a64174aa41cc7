"""Frames in the whole picture: untouched outside, no seam, even sides, where they belong."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.inference.paste import LONGEST_PX, Surround, even_and_bounded, fade
from vasa.preprocess.align import FoundFace
from vasa.preprocess.crop import Crop, cut, turn
from vasa.preprocess.landmark_frame import frame_of


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth picture, 301 x 407."""
    y, x = np.mgrid[:301, :407] / 407
    return np.stack([255 * x, 200 * y + 40, 120 + 60 * np.sin(9 * x + 5 * y)], -1).round().astype(np.uint8)


@pytest.mark.parametrize(
    "crop", [Crop(200.3, 150.8, 160.7, 128), Crop(20.0, 290.0, 200.0, 96), Crop(200, 150, 99.5, 128)]
)
def test_the_pictures_own_crop_put_back_is_the_picture(photo, crop):
    surround = Surround.of(photo, crop)
    whole = surround.around(cut(photo, crop))
    assert whole.shape == (300, 406, 3)
    assert np.abs(whole.astype(int) - surround.picture).max() <= 3  # resampled twice


def test_outside_the_crop_and_at_its_edge_nothing_changes(photo):
    crop = Crop(200.3, 150.8, 160.7, 128)
    surround = Surround.of(photo, crop)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    whole = surround.around(noise)
    same = (whole == surround.picture).all(-1)
    y, x = np.mgrid[:300, :406] + 0.5
    outside = np.maximum(abs(x - crop.centre_x), abs(y - crop.centre_y)) > crop.side / 2 * 0.98
    assert same[outside].all() and not same[~outside].all()
    assert np.array_equal(photo[:300, :406], surround.picture)


def test_shares_rise_from_nothing_at_the_edge_to_all_inside():
    shares = fade(np.linspace(0, 1.2, 200))
    assert (
        shares[0] == 1
        and (np.diff(shares) <= 0).all()
        and (shares[np.linspace(0, 1.2, 200) > 0.99] == 0).all()
    )


def test_pictures_become_even_and_no_longer_than_video_wants(photo):
    same, scale = even_and_bounded(photo)
    assert same.shape == (300, 406, 3) and scale == 1
    large, scale = even_and_bounded(np.zeros((1001, 4003, 3), np.uint8))
    assert large.shape == (480, LONGEST_PX, 3) and scale == pytest.approx(LONGEST_PX / 4003, rel=1e-3)


def test_frames_of_a_portrait_have_the_size_of_its_photograph(talking_face, photo):
    portrait = talking_face.prepare(photo, 64, paste=True)
    generation = talking_face.generate(portrait, np.zeros(16_000, np.float32), 16_000)
    frames = list(generation)
    assert generation.shape == (300, 406) and frames[0].shape == (300, 406, 3)
    ends = frames[0][:, [0, -1]], frames[-1][:, [0, -1]]
    assert np.array_equal(*ends)  # beside the square nothing flickers


def test_where_edges_are_held_nothing_moves_there(tiny_runs):
    face = FaceAutoencoder.from_pretrained(tiny_runs / "face.safetensors")
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 64), mode="bilinear") * 2 - 1
    free = face.encode(image)
    held = face.hold_edges(free)
    motion = face.own_motion(free).clone()
    motion[:, 3] += 0.3
    edge = torch.ones(64, 64, dtype=torch.bool)
    edge[1:-1, 1:-1] = False

    def change(appearance):
        return (face.render(appearance, motion) - image)[0, :, edge].abs().mean()

    assert change(held) < 0.02 < 0.05 < change(free)
    middle = (face.render(held, motion) - face.render(free, motion))[0, :, 24:40, 24:40].abs()
    assert middle.mean() < 1e-5


def test_no_step_of_colour_at_the_edge_of_a_turned_portrait(tiny_runs, photo, talking_face):
    """A head that moves by a tenth of the picture: its ring fades into the photograph within a grey level."""
    face = FaceAutoencoder.from_pretrained(tiny_runs / "face.safetensors")
    talking_face.face = face
    crop = Crop(200.0, 150.0, 200.0, 128)
    portrait = talking_face.prepare(photo, 128, known=FoundFace(crop, "known", 1, 1.0), paste=True)
    motion = portrait.motion.repeat(2, 1)
    motion[1, 3] += 0.1
    surround = portrait.surround
    share = np.asarray(surround.share)
    x0, y0, x1, y1 = surround.place
    ring = (share > 0) & (share < 64)
    for frame in talking_face.perform(portrait, iter([motion]), 2):
        step = frame[y0:y1, x0:x1].astype(float) - surround.picture[y0:y1, x0:x1]
        assert np.abs(step[ring].mean(0)).max() < 1


def test_a_turned_crop_put_back_is_the_picture_and_leaves_its_outside(photo):
    """At the photograph's size, smaller, and reaching out of it."""
    for crop in (Crop(200.3, 150.8, 160.7, 160, angle=0.4), Crop(30.0, 250.0, 200.0, 96, angle=-0.7),
                 Crop(200, 150, 90.0, 256, angle=2.0)):  # fmt: skip
        surround = Surround.of(photo, crop)
        whole = surround.around(cut(photo, crop))
        assert np.abs(whole.astype(int) - surround.picture).max() <= 3
        noisy = surround.around(np.zeros((crop.size, crop.size, 3), np.uint8))
        y, x = np.mgrid[:300, :406] + 0.5
        inside = np.abs(crop.to_crop(np.stack([x, y], -1))).max(-1)
        same = (noisy == surround.picture).all(-1)
        assert same[inside > 0.98].all() and not same[inside < 0.7].any()


def test_pasting_by_a_mask_is_as_recorded():
    """LivePortrait's paste under a mask of its own: linear there, cubic here, a level on noise."""
    golden = Path(__file__).resolve().parents[1] / "golden"
    sys.path.insert(0, str(golden))
    import make_weights

    recorded = np.load(golden / "liveportrait_golden.npz")
    whole, face = make_weights.image_u8("crop_img", 480, 640), make_weights.image_u8("paste_face", 512, 512)
    frame = frame_of(recorded["crop/203/pts"]).widened(2.3, 0, -0.125)
    # OpenCV counts from the middles of pixels, on both sides
    shift = 0.5 - 0.5 * frame.side / 512 * turn(frame.angle).sum(0)
    crop = Crop(frame.centre_x + shift[0], frame.centre_y + shift[1], frame.side, 512, angle=frame.angle)
    y, x = np.mgrid[:512, :512]
    mask = 255 * 2 * (1.2 - ((x - 256) / 230) ** 2 - ((y - 256) / 230) ** 2)
    surround = Surround.of(whole, crop)
    x0, y0, x1, y1 = surround.place
    surround.share = surround._fitted(Image.fromarray(mask.clip(0, 255).astype(np.uint8)), (x1 - x0, y1 - y0))
    share = np.zeros((480, 640))
    share[y0:y1, x0:x1] = np.asarray(surround.share) / 255
    assert np.abs(share[::8, ::8] - recorded["crop/paste/mask_every_8th"]).max() < 0.01
    apart = np.abs(surround.around(face)[::8, ::8] - recorded["crop/paste/result_every_8th"].astype(float))
    assert apart.mean() < 1.2 and apart.max() <= 13
