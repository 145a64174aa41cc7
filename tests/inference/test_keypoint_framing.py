"""Keypoint spaces: how a portrait and drivers are framed, what is told of eyes and lips, and that rules get
it.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from landmark_files import write_landmarks
from PIL import Image

from vasa.face.keypoints.animation import Animator, KeypointMotion
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.networks import KeypointNetworks
from vasa.face.keypoints.resting import resting_expression
from vasa.face.keypoints.space import KeypointFace, from_raw, to_raw
from vasa.inference.config import InferRun
from vasa.inference.demo import demo_portrait
from vasa.inference.joyvasa_source import NoMotion
from vasa.inference.keypoint_driving import is_picture, keypoint_motion
from vasa.inference.keypoint_edit import Driver, keypoint_edits
from vasa.inference.keypoint_framing import DriverFraming, OpeningTrack, check_openings, framed_portrait
from vasa.inference.performance import heard
from vasa.inference.pipeline import TalkingFace
from vasa.preprocess.align import FaceAligner, FoundFace
from vasa.preprocess.crop import Crop, turn
from vasa.preprocess.face_landmarks import FaceLandmarks
from vasa.preprocess.landmark_frame import typical_frame
from vasa.pretrained.config import DetectorConfig, SpeechConfig
from vasa.pretrained.dense_landmarks import Landmarks203
from vasa.pretrained.speech import build_speech_encoder
from vasa.video import VideoWriter

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FIVE = np.array([[180, 200], [260, 200], [220, 240], [190, 290], [250, 290]], float)
ALL = {"eye_retargeting": True, "lip_retargeting": True}


@pytest.fixture(scope="module")
def drawn():
    """A person in the middle of a wider picture, and the points."""
    picture, found = demo_portrait(3, 256)
    return np.pad(picture, ((40, 40), (90, 10), (0, 0)), mode="edge"), found.points + [90, 40]


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """Narrow networks, and landmarks whose eyes and lips are as open as the picture is blue."""
    torch.manual_seed(0)
    networks = KeypointNetworks("human", 8).eval()
    heads = networks.motion.detector
    with torch.no_grad():
        heads.fc_scale.weight.mul_(0.1)
        heads.fc_scale.bias.fill_(1.3)
        heads.fc_kp.bias.uniform_(-0.7, 0.7)
    folder = tmp_path_factory.mktemp("system")
    speech = build_speech_encoder(SpeechConfig())
    made = TalkingFace(KeypointFace(networks), NoMotion(folder), speech, FaceAligner(DetectorConfig()))
    made.landmarks = FaceLandmarks({203: Landmarks203(write_landmarks(folder / "203.onnx", 203))})
    return made


def found_at(points):
    return FoundFace(Crop(200, 220, 300, 256), "scrfd", 1, 0.9, np.asarray(points, float))


# ---------------------------------------------------------------------- framing


def test_a_portrait_is_upright_and_of_the_asked_size():
    photo = np.full((500, 600, 3), 90, np.uint8)
    tilted = (FIVE - 220) @ turn(0.4) + 220
    found, told = framed_portrait(photo, found_at(tilted), FaceLandmarks({}), RulesConfig(), 512)
    crop, frame = found.crop, typical_frame(tilted)
    assert told is None and found.found_by == "scrfd, 5 points"
    assert (
        crop.size == 512 and crop.angle == pytest.approx(0.4) and crop.side == pytest.approx(2.3 * frame.side)
    )
    eyes = crop.to_crop(tilted)[:2]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1])
    middle = crop.to_crop(np.array([frame.centre_x, frame.centre_y]))
    np.testing.assert_allclose(middle, [0, 0.25], atol=1e-9)  # an eighth of the side below the middle
    rules = RulesConfig(crop_scale=3.0, crop_vx=0.1, crop_vy=0.0, crop_rotate=False)
    other, _ = framed_portrait(photo, found_at(tilted), FaceLandmarks({}), rules, 512)
    assert other.crop.angle == 0 and other.crop.side == pytest.approx(3 * frame.side)
    moved = np.array([other.crop.centre_x - frame.centre_x, other.crop.centre_y - frame.centre_y])
    np.testing.assert_allclose(moved, 0.1 * other.crop.side * turn(0.4)[0], atol=1e-6)
    unseen = FoundFace(Crop(1, 2, 3, 256), "centre", 0, 0.0)
    assert framed_portrait(photo, unseen, FaceLandmarks({}), RulesConfig(), 256) == (unseen, None)
    with pytest.raises(ValueError, match="is given, but no points of the face were found"):
        framed_portrait(photo, unseen, FaceLandmarks({}), rules, 256)


@pytest.mark.parametrize(("is_source", "name"), [(False, "driving"), (True, "crop")])
def test_a_drivers_square_that_no_points_tell_is_kept_or_refused(is_source, name):
    photo, unseen = np.zeros((400, 400, 3), np.uint8), FoundFace(Crop(1, 2, 3, 256), "scrfd", 1, 1.0)
    plain = DriverFraming(FaceLandmarks({}), RulesConfig(), is_source)
    assert plain.square(photo, unseen) == unseen.crop and plain.picture(photo, unseen, 512)[1] is None
    asked = DriverFraming(FaceLandmarks({}), RulesConfig(**{f"{name}_scale": 3.0}), is_source)
    for look in (asked.square, lambda *given: asked.picture(*given, 512)):
        with pytest.raises(
            ValueError, match=f"keypoints.{name}_scale, .* is given, but no points of the fac"
        ):
            look(photo, unseen)


def test_a_drivers_square_is_level_and_tells_where_the_face_is():
    framing = DriverFraming(FaceLandmarks({}), RulesConfig())
    tilted = (FIVE - 220) @ turn(0.2) + 220
    square = framing.square(np.zeros((400, 400, 3), np.uint8), found_at(tilted))
    frame = typical_frame(tilted)
    assert square.angle == 0 and square.side == pytest.approx(2.2 * frame.side)
    level = framing.square(np.zeros((400, 400, 3), np.uint8), found_at(FIVE))
    back, wanted = framing.face_in(level), typical_frame(FIVE)
    np.testing.assert_allclose(
        [back.centre_x, back.centre_y, back.side], [wanted.centre_x, wanted.centre_y, wanted.side]
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"crop_scale": 0.5}, "crop_scale is 0.5, crop_vx 0 and crop_vy -0.125; wanted 1 to 8"),
        ({"driving_vy": 2.0}, "driving_scale is 2.2, driving_vx 0 and driving_vy 2; wanted"),
    ],
)
def test_framings_that_show_no_face_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        RulesConfig(**given)


# ---------------------------------------------------------------------- openings


def test_a_track_gives_what_was_added_and_forgets():
    track, rows = OpeningTrack(), torch.arange(30.0).view(10, 3)
    track.add(rows[:4])
    assert torch.equal(track.take(0, 2), rows[:2])
    track.add(rows[4:])
    assert torch.equal(track.take(2, 5), rows[2:7]) and torch.equal(track.take(9, 1), rows[9:])
    assert len(track._values) == 1


@pytest.mark.parametrize(
    ("rules", "given", "words"),
    [
        (
            ALL,
            {"tells": (False, True)},
            "keypoints.eye_retargeting makes eyes as open as the driver's, but d",
        ),
        (ALL, {"tells": (True, False)}, "keypoints.lip_retargeting makes lips as open as the driver's"),
        (
            ALL,
            {"is_known": False},
            r"eye_retargeting and keypoints.lip_retargeting are given, but the source",
        ),
        ({"close_lips": True}, {"is_known": False}, "five points do not tell them; get LivePortrait's landm"),
        ({"close_lips": True}, {"relative": False}, "keypoints.close_lips goes with pose=relative"),
        ({"close_lips": True}, {"species": "animal"}, "told of people alone; leave it out"),
    ],
)
def test_openings_that_nothing_tells_are_refused_in_a_sentence(rules, given, words):
    known = {"species": "human", "relative": True, "is_known": True, "driver": "d", "tells": (True, True)}
    check_openings(RulesConfig(**rules), **known)
    with pytest.raises(ValueError, match=words):
        check_openings(RulesConfig(**rules), **known | given)
    check_openings(RulesConfig(), **known | given)


def blue_video(path, photo, shares):
    """A face under ever more blue."""
    with VideoWriter(path, *photo.shape[:2], 25) as writer:
        for share in shares:
            frame = photo.copy()
            frame[..., 2] = round(255 * share)
            writer.write(frame)
    return path


def animated(system, portrait, rules, driving, **given):
    """Keypoints by the rules themselves, without the edits of inference."""
    own = from_raw(portrait.motion)
    told = torch.from_numpy(portrait.openings).float()[None]
    own.eyes, own.lips = told[:, :2], told[:, 2:]
    space = system.face
    return Animator(rules, portrait.appearance.canonical, own, space.retargeting, **given).keypoints(driving)


def shown(system, portrait, rules, driver, motion, pose="relative"):
    """Keypoints by the edits, in chunks of raw motion."""
    made, frames = 0, []
    move, finish = keypoint_edits(system.face, portrait, rules, driver, pose=pose)
    for chunk in motion:
        frames.append(finish(move(chunk, made), made))
        made += len(chunk)
    return from_raw(torch.cat(frames)).keypoints(portrait.appearance.canonical), made


@pytest.mark.parametrize("pose", ["relative", "absolute"])
def test_a_videos_openings_reach_the_rules(system, drawn, tmp_path, pose):
    photo, points = drawn
    portrait = system.prepare(photo, 256, known=found_at(points))
    blue = photo[..., 2].mean() / 255
    assert 0.3 * blue < portrait.openings.mean() < 3 * blue
    shares = np.linspace(0.1, 0.5, 40)  # longer than what is encoded at once
    path = blue_video(tmp_path / "talk.mp4", photo, shares)
    options = InferRun(image=path, driving=path, pose=pose, keypoints=RulesConfig(**ALL))
    motion, count, driver, _ = keypoint_motion(path, options, system, system.face, (None, 16_000))
    seen = []

    def measured():
        for chunk in motion:
            seen.append(driver.openings._values[-len(chunk) :].clone())
            yield chunk

    with torch.inference_mode():
        chunks = []
        found, made = shown(
            system, portrait, options.keypoints, driver, (chunks.append(c) or c for c in measured()), pose
        )
        told = torch.cat(seen)
        np.testing.assert_allclose(told[:, 0], shares, atol=0.04)  # the codec's blue
        driving = from_raw(torch.cat(chunks))
        driving.eyes, driving.lips = told[:, :2], told[:, 2:]
        wanted = animated(system, portrait, options.keypoints, driving, relative=pose == "relative")
    assert made == count == 40
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert (found[1:] - found[:-1]).abs().amax((1, 2)).min() > 1e-7


def test_one_picture_drives_from_a_face_at_rest(system, drawn, tmp_path):
    photo, points = drawn
    portrait = system.prepare(photo, 256, known=found_at(points))
    path = tmp_path / "smile.png"
    Image.fromarray(np.clip(photo.astype(int) + 30, 0, 255).astype(np.uint8)).save(path)
    rules = RulesConfig(stitching=False)
    options = InferRun(image=path, driving=path, keypoints=rules)
    assert heard(options)[0] is None
    motion, count, driver, _ = keypoint_motion(path, options, system, system.face, heard(options))
    chunks = list(motion)
    with torch.inference_mode():
        found, made = shown(system, portrait, rules, driver, chunks)
        driving = from_raw(torch.cat(chunks))
        wanted = animated(system, portrait, rules, driving[:1], lip_rest=resting_expression())
    assert made == count == 25 and driver.alone and driver.tells == (True, True)
    torch.testing.assert_close(found, wanted.expand_as(found), atol=1e-4, rtol=0)
    sound = np.zeros(8_000, np.float32), 16_000
    assert keypoint_motion(path, options, system, system.face, sound)[1] == 13
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"driving .*black\.png': no face was found"):
        keypoint_motion(tmp_path / "black.png", options, system, system.face, sound)


def test_what_is_one_picture(tmp_path, drawn):
    picture = Image.fromarray(drawn[0])
    picture.save(tmp_path / "a.webp")
    picture.save(tmp_path / "b.gif", save_all=True, append_images=[picture.rotate(9)])
    video = blue_video(tmp_path / "c.mp4", drawn[0], [0.1, 0.2])
    found = [is_picture(tmp_path / name) for name in ("a.webp", "b.gif", "c.mp4", "none.png")]
    assert found == [True, False, False, False] and video.is_file()


@pytest.mark.parametrize("count", [1, 70])
def test_a_templates_openings_reach_the_rules(system, drawn, tmp_path, count):
    photo, points = drawn
    portrait = system.prepare(photo, 256, known=found_at(points))
    gen = torch.Generator().manual_seed(0)
    given = KeypointMotion(
        torch.eye(3).expand(count, 3, 3),
        0.02 * torch.randn(count, 21, 3, generator=gen),
        torch.full((count, 1), 1.3),
        torch.zeros(count, 3),
        torch.rand(count, 2, generator=gen),
        torch.rand(count, 1, generator=gen),
    )
    names = {"R": given.turned, "exp": given.expression, "scale": given.scale, "t": given.t}
    frames = [{k: v[i : i + 1].numpy() for k, v in names.items()} for i in range(count)]
    content = {"n_frames": count, "output_fps": 25, "motion": frames}
    content["c_eyes_lst"] = [given.eyes[i : i + 1].numpy() for i in range(count)]
    path = tmp_path / "t.pkl"
    path.write_bytes(pickle.dumps(content, 4))
    options = InferRun(image=path, driving=path, keypoints=RulesConfig(**ALL))
    _, _, driver, _ = keypoint_motion(path, options, system, system.face, (None, 16_000))
    with pytest.raises(ValueError, match=r"the template 't\.pkl' does not tell openings"):
        keypoint_edits(system.face, portrait, options.keypoints, driver)
    content["c_lip_lst"] = [given.lips[i : i + 1].numpy() for i in range(count)]
    path.write_bytes(pickle.dumps(content, 4))
    motion, made, driver, _ = keypoint_motion(path, options, system, system.face, (None, 16_000))
    assert driver.alone == (count == 1) and made == (25 if count == 1 else count)
    with torch.inference_mode():
        rest = resting_expression() if count == 1 else None
        found, _ = shown(system, portrait, options.keypoints, driver, motion)
        driving = from_raw(to_raw(given))
        driving.eyes, driving.lips = given.eyes, given.lips
        wanted = animated(system, portrait, options.keypoints, driving, lip_rest=rest)
    torch.testing.assert_close(found, wanted.expand_as(found), atol=1e-4, rtol=0)


def test_lips_are_closed_before_speech_moves_them(system, drawn):
    photo, points = drawn
    portrait = system.prepare(photo, 256, known=found_at(points))
    assert portrait.openings[2] > 0.03
    driver, motion = Driver("motion made of sound", sound=True), portrait.motion.expand(2, -1)
    with torch.inference_mode():
        plain, closed = (
            shown(system, portrait, RulesConfig(close_lips=lips), driver, [motion])[0]
            for lips in (False, True)
        )
    source = from_raw(portrait.motion).keypoints(portrait.appearance.canonical)
    lips = torch.tensor([[float(portrait.openings[2])]])
    offset = system.face.retargeting.of_lips(source, lips, torch.zeros(1, 1))
    torch.testing.assert_close(closed - plain, offset.expand(2, -1, -1), atol=1e-5, rtol=0)


def test_the_resting_expression_is_the_published_one():
    wanted = np.load(GOLDEN / "liveportrait_golden.npz")["const/lip_array"].reshape(21, 3)
    np.testing.assert_allclose(resting_expression(), wanted, rtol=1e-5)
