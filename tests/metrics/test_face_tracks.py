"""Faces followed through a video, and the crop around them, by the published rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa.data.config import ClipsConfig, SpokenConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.metrics.face_tracks import (
    FaceTrack,
    find_by_detector,
    find_by_landmarks,
    link,
    one_track,
    shots,
    track_crops,
)
from vasa.metrics.protocol import Unscored
from vasa.pretrained.config import LandmarkNetConfig
from vasa.pretrained.crops import face_boxes
from vasa.pretrained.detector import FaceBox
from vasa.pretrained.landmarks import LandmarkNet, LandmarkPrediction
from vasa.pretrained.registry import JUDGE_DIR, NETWORKS
from vasa.pretrained.sync_crops import crop

LANDMARKS = JUDGE_DIR / NETWORKS["landmarks"].file


def box(x: float, y: float, side: float = 120) -> np.ndarray:
    return np.array([x, y, x + side, y + side])


def boxes(*each: np.ndarray | None) -> list[np.ndarray]:
    """One list of boxes a frame; None: nothing found."""
    return [np.zeros((0, 4)) if one is None else one.reshape(-1, 4) for one in each]


def test_a_track_bridges_gaps_of_25_frames_and_no_more() -> None:
    found = boxes(box(0, 0), *[None] * 24, box(24, 0), *[None] * 25, box(30, 0))
    (seen, first), (later_seen, later) = link(found, start=7)
    assert (seen, first.first, len(first)) == (2, 7, 26)
    assert np.allclose(first.boxes[12], box(12 * 24 / 25, 0))
    assert (later_seen, later.first, len(later)) == (1, 7 + 51, 1)


def test_a_box_that_jumps_begins_another_track() -> None:
    tracks = link(boxes(box(0, 0), box(10, 0), box(200, 0), box(20, 0)), start=0)
    assert [(seen, track.first, len(track)) for seen, track in tracks] == [(3, 0, 4), (1, 2, 1)]


def test_two_faces_are_two_tracks_whatever_their_order_in_a_frame() -> None:
    left, right = box(0, 0), box(300, 0)
    found = [np.stack([left, right] if i % 2 else [right, left]) for i in range(10)]
    tracks = sorted((track for _, track in link(found, 0)), key=lambda t: t.boxes[0, 0])
    assert len(tracks) == 2
    assert np.array_equal(tracks[0].boxes, np.tile(left, (10, 1)))


def test_a_shot_begins_where_the_picture_changes_and_lasts_15_frames() -> None:
    grey = np.full((60, 40, 64, 3), 40, np.uint8)
    grey[20:] = 200  # changes the value by 160 of 3 channels: a mean of 53
    grey[24:28] = 40  # too soon after the last
    grey[50:] = 60  # 140: a mean of 47
    assert shots(grey) == [0, 20, 50]
    slow = np.repeat(np.arange(0, 240, 4, dtype=np.uint8), 40 * 64 * 3).reshape(60, 40, 64, 3)
    assert shots(slow) == [0]


def _track(found: list[np.ndarray], min_track: int = 20, min_face: float = 100) -> FaceTrack:
    frames = np.zeros((len(found), 16, 16, 3), np.uint8)
    return one_track(frames, lambda _: found, min_track, min_face)


def test_what_is_no_single_face_says_why() -> None:
    still = box(10, 10)
    assert len(_track(boxes(*[still] * 21))) == 21
    with pytest.raises(Unscored, match="too short: 20 frames"):
        _track(boxes(*[still] * 20))
    with pytest.raises(Unscored, match="no face"):
        _track(boxes(*[None] * 30))
    with pytest.raises(Unscored, match="followed through 20 frames, wanted more than 20"):
        _track(boxes(*[still] * 20, *[None] * 20))
    with pytest.raises(Unscored, match="face too small: 100 px"):
        _track(boxes(*[box(0, 0, 100)] * 30))
    with pytest.raises(Unscored, match="several faces: 2 tracks"):
        _track([np.stack([still, box(300, 0)])] * 30)
    shown_briefly = [np.stack([still, box(300, 0)])] * 10 + boxes(*[still] * 20)
    assert len(_track(shown_briefly)) == 30


def test_the_crop_is_2_8_half_sides_wide_and_lies_lower_than_the_box() -> None:
    frame = np.full((400, 400, 3), 30, np.uint8)
    x, y, half = 200.0, 180.0, 50.0
    frame[round(y + 0.4 * half) - 2 : round(y + 0.4 * half) + 2, round(x) - 2 : round(x) + 2] = 255
    frame[round(y - half) - 1 : round(y - half) + 2] = 90  # the box's upper edge is the crop's
    found = crop(frame, x, y, half)
    bright = np.argwhere(found[..., 0] > 200)
    assert np.abs(bright.mean(0) - 111.5).max() < 2
    assert (found[0, 20:200, 0] > 60).all() and (found[6:100, 20, 0] == 30).all()
    outside = crop(frame, 0.0, 180.0, half)
    assert (outside[:, :100] == 110).all() and (outside[10:100, 130:] == 30).all()


def test_crops_follow_the_median_of_13_boxes() -> None:
    """One box far off and one missed frame change nothing; a face that stays moves to its place."""
    still = np.tile(box(100, 100), (40, 1))
    stray = still.copy()
    stray[20] += 60
    frames = np.random.default_rng(0).integers(0, 255, (40, 340, 340, 3), dtype=np.uint8)
    assert np.array_equal(track_crops(frames, FaceTrack(0, stray)), track_crops(frames, FaceTrack(0, still)))
    later = track_crops(frames, FaceTrack(5, still[:20]))
    assert np.array_equal(later[3], crop(frames[8], 160, 160, 60))


class _Everywhere:
    """Finds what it is told to."""

    name, is_exact = "told", False

    def __init__(self, *found: np.ndarray) -> None:
        self.found, self.asked = found, 0

    def detect(self, photo: np.ndarray, smallest: float = 0.0) -> list[FaceBox]:
        self.asked += 1
        return [FaceBox(one, np.zeros((5, 2)), 1.0) for one in self.found]


class _Middle(LandmarkNet):
    """Sees landmarks around the middle of every square, surely in a bright one."""

    def __init__(self) -> None:
        super().__init__(LandmarkNetConfig(size=32, widths=[8, 8, 8, 8, 8], decoder_width=8))

    def predict(self, images: torch.Tensor, looks: int = 2) -> LandmarkPrediction:
        spread = torch.linspace(-0.5, 0.5, 68)[None, :, None].expand(len(images), -1, 2)
        return LandmarkPrediction(spread, torch.zeros(len(images), 6), images.mean((1, 2, 3)) + 0.5)


def test_every_frame_is_detected_in_by_itself_or_once_a_second_with_landmarks_between() -> None:
    frames = np.full((30, 200, 320, 3), 200, np.uint8)
    exact = _Everywhere(box(50, 40))
    assert [b.tolist() for b in find_by_detector(exact)(frames)] == [[box(50, 40).tolist()]] * 30
    assert exact.asked == 30
    coarse = _Everywhere(box(100, 40, 80))
    found = find_by_landmarks(_Middle(), coarse, 0.3)(frames)
    assert coarse.asked == 2 and [len(b) for b in found] == [1] * 30
    middle = (found[0][0, :2] + found[0][0, 2:]) / 2
    assert abs(middle[0] - 140) < 2  # of the box that was told
    twice = find_by_landmarks(_Middle(), _Everywhere(box(100, 40, 80), box(104, 40, 80)), 0.3)(frames)
    assert [len(b) for b in twice] == [1] * 30
    frames[10:] = 20
    assert [len(b) for b in find_by_landmarks(_Middle(), coarse, 0.3)(frames)] == [1] * 10 + [0] * 20


@pytest.mark.skipif(not LANDMARKS.exists(), reason="the landmark network is not here: run train_judges.py")
def test_the_landmark_network_finds_the_boxes_that_true_landmarks_give() -> None:
    spoken = SpokenConfig(espeak_share=0.0)
    clip = SyntheticClips("test", ClipsConfig(num_clips=2, seed=3, seconds=0.24, spoken=spoken))[1]
    assert clip.frames is not None and clip.truth.landmarks is not None
    network = LandmarkNet.from_pretrained(LANDMARKS)
    found = find_by_landmarks(network, _Everywhere(), 0.3)(clip.frames)
    true = (face_boxes(clip.truth.landmarks).double().numpy() + 1) * 64
    assert [len(b) for b in found] == [1] * len(true)
    error = np.abs(np.concatenate(found) - true).mean(0)
    assert error.max() < 8, f"pixels of 128: {error}"  # a tenth of the face, as filmed() strays in training
