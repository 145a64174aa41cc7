"""A video as the source in a keypoint space: LivePortrait's rules reach what is shown, the rest is kept."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from keypoint_cases import made_up
from landmark_files import write_landmarks
from PIL import Image
from test_source_video import Middle

from vasa.face.keypoints.animation import LIP_POINTS, Animator
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.resting import resting_expression
from vasa.face.keypoints.space import KeypointFace, from_raw, to_raw
from vasa.inference.animate import animate
from vasa.inference.asked import asked_of
from vasa.inference.batch import run_list
from vasa.inference.combinations import check_space, check_with_keypoint_video
from vasa.inference.config import InferRun
from vasa.inference.motion_files import SavedMotion
from vasa.inference.performance import performance, subject
from vasa.inference.pipeline import TalkingFace
from vasa.motion.config import SamplerConfig
from vasa.preprocess.face_landmarks import FaceLandmarks
from vasa.pretrained.dense_landmarks import Landmarks203
from vasa.records import AUDIO_HZ
from vasa.video import VideoReader, VideoWriter

PLAIN = {"stitching": False}


class Square(Middle):
    """Knows the square of a face and not its points, by which it would be framed."""

    def find(self, *given, **options):
        return replace(super().find(*given, **options), points=None)


class Speaker:
    """A motion model: expression and head drift away from the first frame."""

    config = SimpleNamespace(sampler=SamplerConfig())

    def __init__(self, layout):
        self.layout = layout

    def generate(self, features, conditions, *, generator, num_frames, steps, guidance):
        yield from self.of(num_frames).split(5)

    def of(self, num_frames):
        rng = torch.Generator().manual_seed(7)
        drift = 0.02 * torch.randn(1, self.layout.width, generator=rng)
        return 0.1 + drift * torch.arange(num_frames)[:, None]


@pytest.fixture(scope="module")
def space():
    return KeypointFace(made_up())


@pytest.fixture
def face(space, talking_face, monkeypatch):
    """shown: the raw motion of every frame that was rendered, in place of rendering it: white frames."""
    shown = []

    def render(appearance, motion):
        shown.append((appearance, motion))
        return torch.ones(len(motion), 3, 256, 256)

    monkeypatch.setattr(space, "render", render)
    known = {"folder": "stand-in", "encoders_sha256": "of these"}
    face = TalkingFace(space, Speaker(space.layout), talking_face.speech, Square(), "cpu", known)
    return SimpleNamespace(talking=face, shown=shown)


def film(path, count, seed=0, dark=(), bluer=0.0):
    """Noise of 80 x 90 pixels that changes slowly; Middle finds a face where it is not dark."""
    rng = np.random.default_rng(seed)
    start, end = rng.integers(60, 256, (2, 10, 9, 3))
    with VideoWriter(path, 80, 90, crf=1) as writer:
        for n in range(count):
            frame = np.kron(start + (end - start) * n / count, np.ones((8, 10, 1)))
            frame[..., 2] *= 1 - bluer * (count - n) / count
            writer.write((frame * (0.05 if n in dark else 1)).astype(np.uint8))
    return path


@pytest.fixture
def clip(tmp_path):
    return film(tmp_path / "clip.mp4", 6)


@pytest.fixture
def driving(tmp_path):
    return film(tmp_path / "driving.mp4", 4, seed=1)


def read(space, path):
    """Canonical keypoints and motion of every frame of a film, or of a picture, in the square that Middle
    names.
    """
    from vasa.inference.driving import as_tensor
    from vasa.preprocess.crop import Crop, cut

    frames = [np.asarray(Image.open(path))] if path.suffix == ".png" else VideoReader(path)
    pictures = [cut(frame, Crop(40.0, 40.0, 64.0, 256)) for frame in frames]
    with torch.inference_mode():
        return space.read(as_tensor(np.stack(pictures), torch.device("cpu")))


def made(face, sound=None, **options):
    """Frames, shown keypoints (T, 21, 3), shown motion, and the performance of a run."""
    run = InferRun(size=256, **options)
    rate = AUDIO_HZ
    performed = performance(run, face.talking, subject(run, face.talking, None), (sound, rate))
    frames = list(performed.generation)
    keypoints = [from_raw(motion).keypoints(of.canonical) for of, motion in face.shown]
    motion = torch.cat([motion for _, motion in face.shown])
    face.shown.clear()
    return frames, torch.cat(keypoints), motion, performed


def noise(seconds):
    return 0.1 * np.random.default_rng(0).standard_normal(round(AUDIO_HZ * seconds)).astype(np.float32)


@pytest.mark.parametrize(
    ("pose", "rules"),
    [
        ("relative", {}),
        ("absolute", {}),
        ("relative", {"smooth": 0.0}),
        ("relative", {"region": "exp", **PLAIN, "multiplier": 1.5}),
    ],
)
def test_what_is_shown_is_what_liveportraits_rules_say(face, space, clip, driving, pose, rules):
    frames, keypoints, _, _ = made(
        face, image=clip, driving=driving, pose=pose, keypoints=RulesConfig(**rules)
    )
    assert len(frames) == 4 and frames[0].shape == (80, 90, 3)  # the shorter one ends it
    canonical, own = read(space, clip)
    driver = read(space, driving)[1]
    # through raw motion, which has no t_z and turns that are rotations
    rule = Animator(
        RulesConfig(**rules), canonical[:4], own[:4], space.retargeting, relative=pose == "relative"
    )
    wanted = rule.keypoints(from_raw(to_raw(driver)))
    assert (wanted - own[:4].keypoints(canonical[:4])).abs().max() > 0.01
    torch.testing.assert_close(keypoints, wanted, atol=2e-4, rtol=0)


def test_smoothing_makes_a_shaking_driver_steadier(face, space, clip):
    shaking = space.layout.width
    values = 0.02 * torch.randn(6, shaking, generator=torch.Generator().manual_seed(0))
    saved = clip.with_name("m.motion.safetensors")
    SavedMotion(values, values[:1], "of these").save(saved)
    steps = []
    for smooth in (0.0, 1e-3):
        rules = RulesConfig(smooth=smooth, **PLAIN)
        keypoints = made(face, image=clip, motion=saved, keypoints=rules)[1]
        steps.append(float(keypoints.diff(dim=0).abs().mean()))
    assert steps[1] < 0.7 * steps[0]


def test_lips_are_those_of_the_sound_and_all_else_is_the_clips(face, space, clip):
    frames, _, motion, performed = made(
        face, noise(0.52), image=clip, keypoints=RulesConfig(smooth=0.0, **PLAIN)
    )
    numbers = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1, 2]
    assert len(frames) == len(performed.sound) * 25 / AUDIO_HZ == 13
    own = to_raw(read(space, clip)[1])[numbers]
    shown, mine = (m[:, 6:].view(-1, 21, 3) for m in (motion, own))
    said = face.talking.motion.of(13)[:, 6:].view(-1, 21, 3)
    lips = list(LIP_POINTS)
    others = [point for point in range(21) if point not in lips]
    torch.testing.assert_close(shown[:, lips], said[:, lips], atol=2e-4, rtol=0)
    torch.testing.assert_close(shown[:, others], mine[:, others], atol=2e-4, rtol=0)
    torch.testing.assert_close(motion[:, :6], own[:, :6], atol=2e-4, rtol=0)
    clips = list(VideoReader(clip))
    for number, frame in zip(numbers, frames, strict=True):
        changed = (frame != clips[number]).any(-1)
        assert changed[50, 40] and not changed[:30].any() and not changed[:, 72:].any()


def test_the_head_follows_the_sound_where_that_is_asked(face, space, clip):
    rules = {region: RulesConfig(region=region, smooth=0.0, **PLAIN) for region in ("lip", "exp", "all")}
    own = to_raw(read(space, clip)[1])
    poses = {
        name: made(face, noise(0.2), image=clip, keypoints=given)[2][:, :3] for name, given in rules.items()
    }
    for name in ("lip", "exp"):
        torch.testing.assert_close(poses[name], own[:5, :3], atol=2e-4, rtol=0)
    moved = face.talking.motion.of(5)[:, :3].diff(dim=0).norm(dim=1)
    assert (poses["all"] - own[:5, :3])[1:].norm(dim=1).min() > 0.5 * moved.min()


def test_one_picture_is_held_over_the_clip_whose_head_stays(face, space, clip, driving, tmp_path):
    Image.fromarray(next(iter(VideoReader(driving)))).save(tmp_path / "p.png")
    rules = RulesConfig(smooth=0.0, **PLAIN)
    frames, _, motion, _ = made(face, image=clip, driving=tmp_path / "p.png", keypoints=rules)
    canonical, own = read(space, clip)
    assert len(frames) == 6
    alone = Animator(rules, canonical, own, space.retargeting, lip_rest=resting_expression())
    wanted = alone.keypoints(read(space, tmp_path / "p.png")[1])
    shown = from_raw(motion).keypoints(canonical)
    torch.testing.assert_close(shown, wanted, atol=2e-3, rtol=0)  # a picture that was pressed once more
    with pytest.raises(ValueError, match="the picture 'p.png' .* its head stays; leave pose=absolute and"):
        made(face, image=clip, driving=tmp_path / "p.png", pose="absolute")
    with pytest.raises(
        ValueError, match="keypoints.smooth is given, but the picture 'p.png' .* is one frame"
    ):
        made(face, image=clip, driving=tmp_path / "p.png", keypoints=replace(rules, smooth=1e-3))
    lips = made(face, image=clip, driving=tmp_path / "p.png", keypoints=replace(rules, region="lip"))[2]
    changed = (lips - to_raw(own))[:, 6:].view(-1, 21, 3).abs().amax((0, 2)) > 1e-3
    assert set(changed.nonzero().flatten().tolist()) == set(LIP_POINTS)
    turned = made(face, image=clip, driving=tmp_path / "p.png", keypoints=rules, head_yaw=8.0)[2]
    degrees = np.degrees((turned - motion)[:, 0].numpy())
    np.testing.assert_allclose(degrees, 8.0, atol=0.1)


def test_eyes_are_held_open_by_what_landmarks_tell(face, space, driving, tmp_path):
    """By a network that sees eyes as open as the picture is blue."""
    clip = film(tmp_path / "bluer.mp4", 6, bluer=0.5)
    common = {"image": clip, "driving": driving, "pose": "absolute"}
    opened = RulesConfig(open_source_eyes=True, **PLAIN)
    with pytest.raises(ValueError, match="the source has no ratios of its eyes and lips: five points"):
        made(face, **common, keypoints=opened)
    network = Landmarks203(write_landmarks(tmp_path / "203.onnx", 203))
    face.talking.landmarks = FaceLandmarks({203: network})
    plain = made(face, **common, keypoints=RulesConfig(**PLAIN))[1]
    _, keypoints, _, _ = made(face, **common, keypoints=opened)
    canonical, own = read(space, clip)
    source = own.keypoints(canonical)[:4]
    told = subject(InferRun(size=256, **common, keypoints=opened), face.talking, None)
    eyes = told.own(space, face.talking.device, openings=True)[1].eyes
    wanted = eyes[:1].mean(1, keepdim=True)
    assert float(wanted) > 0.18 and float(eyes.diff(dim=0).abs().max()) > 0.01
    offsets = space.retargeting.of_eyes(source, eyes[:4], wanted.expand(4, -1))
    torch.testing.assert_close(keypoints - plain, offsets, atol=2e-4, rtol=0)


def test_frames_are_framed_by_the_rule_of_portraits(face, clip):
    face.talking.aligner = Middle()
    sides = []
    for scale in (2.3, 3.0):
        run = InferRun(image=clip, size=512, keypoints=RulesConfig(crop_scale=scale))
        opened = subject(run, face.talking, None)
        sides.append(opened.portrait.found.crop.side)
        assert opened.portrait.found.crop == opened.video.crop(0, 512, 512)
    assert sides[1] / sides[0] == pytest.approx(3.0 / 2.3)


def test_turns_and_distance_reach_a_driven_video(face, clip, driving):
    common = {"image": clip, "driving": driving, "keypoints": RulesConfig(smooth=0.0, **PLAIN)}
    plain = made(face, **common)[2]
    turned = made(face, **common, head_roll=6.0)[2] - plain
    assert np.degrees(turned[:, 2].mean().item()) == pytest.approx(6.0, abs=1.0)
    nearer = made(face, **common, distance=0.8)[2] - plain
    torch.testing.assert_close(nearer[:, 5], torch.full((4,), -np.log(0.8).item()), atol=1e-4, rtol=0)


def test_where_the_face_is_lost_the_frame_is_as_it_was(face, tmp_path):
    clip = film(tmp_path / "lost.mp4", 40, dark=range(12, 28))
    frames, _, _, _ = made(face, noise(1.6), image=clip)
    source = list(VideoReader(clip))
    for number in (14, 20, 25):
        assert np.array_equal(frames[number], source[number])
    assert (frames[3] != source[3]).any() and (frames[39] != source[39]).any()


def test_what_is_rendered_as_it_was_leaves_the_frame_as_it_was(face, space, clip, driving, monkeypatch):
    monkeypatch.setattr(space, "render", lambda appearance, motion: appearance.held)
    run = InferRun(image=clip, driving=driving, size=256)
    made = performance(run, face.talking, subject(run, face.talking, None), (None, AUDIO_HZ))
    for frame, source in zip(made.generation, VideoReader(clip), strict=False):
        assert np.abs(frame.astype(int) - source).mean() < 2  # a pixel aside it is 2.7 and more


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paste": True}, "paste goes with a photograph"),
        ({"face_box": "1,2,30"}, "face_box goes with a photograph"),
        ({"pose": "absolute"}, "pose goes with a photograph"),
        ({"head_yaw": 5.0}, "the head is kept; give keypoints.region=all"),
        ({"distance": 1.2, "driving": Path("d.mp4"), "keypoints": {"region": "exp"}}, "the head is kept"),
        ({"keypoints": {"friendly": False}}, "keypoints.friendly is given, but image 'v.mp4' is a video"),
        ({"keypoints": {"compat": "upstream"}}, "keypoints.compat is given, but image 'v.mp4' is a video"),
        ({"keypoints": {"crop_rotate": False}}, "keypoints.crop_rotate is given, but image 'v.mp4' is a"),
        ({"keep": "head"}, "keep is given, but this checkpoint's face space is of keypoints"),
    ],
)
def test_what_a_video_cannot_heed_is_said(options, words):
    rules = RulesConfig(**options.pop("keypoints", {}))
    run = InferRun(image="v.mp4", keypoints=rules, **options)
    with pytest.raises(ValueError) as caught:
        check_space(run, asked_of(run), True, True)
        check_with_keypoint_video(run, asked_of(run), "human")
    assert words in str(caught.value) and str(caught.value).endswith(".")


def test_animals_are_shown_from_photographs_only():
    run = InferRun(image="v.mp4")
    with pytest.raises(ValueError, match="are of animals, which are shown from photographs only; give a pic"):
        check_with_keypoint_video(run, asked_of(run), "animal")


def test_smoothing_is_for_videos():
    run = InferRun(image="p.png", keypoints=RulesConfig(smooth=0.0))
    with pytest.raises(ValueError, match="keypoints.smooth is given, for sources that are videos, and the"):
        check_space(run, asked_of(run), True, False)


def test_a_refused_video_leaves_nothing(face, clip):
    before = sorted(clip.parent.iterdir())
    with pytest.raises(ValueError, match="the head is kept"):
        animate(InferRun(image=clip, output=clip.with_name("o.mp4"), size=256, head_yaw=4.0), face.talking)
    assert sorted(clip.parent.iterdir()) == before


def test_lists_take_videos_as_sources_and_carry_on(face, clip, driving, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "s.wav", noise(0.2), AUDIO_HZ)
    rows = [
        "name,image,driving,audio,keypoints.region",
        "driven,clip.mp4,driving.mp4,,",
        "said,clip.mp4,,s.wav,",
        "told,clip.mp4,driving.mp4,s.wav,pose",
        "wrong,clip.mp4,none.mp4,,",
    ]
    (tmp_path / "jobs.csv").write_text("\n".join(rows) + "\n")
    run = InferRun(list=tmp_path / "jobs.csv", out=tmp_path / "out", size=256, save_motion=True)
    with pytest.raises(ValueError, match="1 of 4 rows failed"):
        run_list(run, face.talking)
    videos = {name: tmp_path / "out" / f"{name}.mp4" for name in ("driven", "said", "told")}
    assert [len(list(VideoReader(path))) for path in videos.values()] == [4, 5, 4]
    said = json.loads((tmp_path / "out" / "told.provenance.json").read_text())
    assert set(said["request"]["inputs"]) == {"image", "driving", "audio"}
    assert said["face"]["found_by"] == "video" and said["request"]["options"]["keypoints.region"] == "pose"
    times = {name: path.stat().st_mtime_ns for name, path in videos.items()}
    videos["said"].unlink()
    with pytest.raises(ValueError, match="1 of 4 rows failed"):
        run_list(run, face.talking)
    again = {name: path.stat().st_mtime_ns for name, path in videos.items()}
    assert [name for name in videos if again[name] != times[name]] == ["said"]
