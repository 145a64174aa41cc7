"""What could not be heeded is refused in a sentence; what can be, changes what is shown."""

import numpy as np
import pytest
from PIL import Image

from vasa.inference.animate import animate
from vasa.inference.asked import asked_of
from vasa.inference.combinations import check_together, check_with_video
from vasa.inference.config import GuidanceOverride, InferRun, RegionFiles
from vasa.inference.control_edits import edits_for
from vasa.inference.performance import subject
from vasa.video import VideoReader, VideoWriter

TRACK = "time,gaze_yaw\n0,0\n1,9\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"driving": "d.mp4", "steps": 5}, "steps is given with driving=d.mp4, where no motion is generated"),
        (
            {"motion": "m.safetensors", "guidance": GuidanceOverride(audio=2.0)},
            "guidance is given with",
        ),
        ({"driving": "d.mp4", "steps": 5, "guidance": GuidanceOverride(gaze=1.0)}, "steps and guidance are"),
        ({"only": "pose", "regions": RegionFiles(lips="l.mp4")}, "regions.lips=l.mp4 comes with only=pose"),
        (
            {"only": "dynamics", "regions": RegionFiles(head="h.mp4")},
            "regions.head=h.mp4 comes with",
        ),
    ],
)
def test_what_could_not_be_heeded_is_refused(options, words):
    with pytest.raises(ValueError) as caught:
        check_together(InferRun(**options))
    assert words in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"paste": True}, "paste goes with a photograph"),
        ({"background": "plate", "pose": "absolute"}, "background and pose go with a photograph"),
        ({"driving": "d.mp4"}, "driving goes with a photograph"),
        ({"head_yaw": 5.0, "distance": 1.2}, "distance and head_yaw are given, but"),
        (
            {"blink_rate": 9.0},
            "blink_rate is given, but of the video 'v.mp4' the eyes are kept",
        ),
        ({"controls": "t.csv"}, "gaze_yaw is given, but"),
    ],
)
def test_of_a_video_only_what_speaks_can_be_asked(options, words, tmp_path):
    (tmp_path / "t.csv").write_text(TRACK)
    if "controls" in options:
        options = {"controls": tmp_path / "t.csv"}
    run = InferRun(image="v.mp4", **options)
    with pytest.raises(ValueError) as caught:
        check_with_video(run, asked_of(run))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"head_yaw": 5.0, "keep": "eyes"}, {"gaze_yaw": 5.0, "keep": "head+brows"}, {"emotion": "happy"}],
)
def test_what_is_not_kept_can_be_asked(options):
    run = InferRun(image="v.mp4", **options)
    check_with_video(run, asked_of(run))


def test_a_video_is_refused_what_it_cannot_heed_before_anything_is_written(tmp_path, talking_face):
    with VideoWriter(tmp_path / "v.mp4", 64, 64) as writer:
        for level in (90, 120, 150):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    with pytest.raises(ValueError, match="the head is kept"):
        animate(
            InferRun(image=tmp_path / "v.mp4", output=tmp_path / "o.mp4", size=64, head_roll=4.0),
            talking_face,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_a_bearing_is_held_back_where_it_is_generated_or_where_that_is_asked(talking_face, picture):
    run = InferRun(size=64)
    portrait = subject(run, talking_face, picture)

    def held(**options):
        given = InferRun(size=64, **options)
        return edits_for(given, asked_of(given), talking_face.face, portrait)[0]._range * 180 / np.pi

    assert held() == pytest.approx(12)
    assert held(driving="d.mp4") == held(motion="m.safetensors") == pytest.approx(90)
    assert held(regions=RegionFiles(head="h.mp4")) == pytest.approx(90)
    assert held(regions=RegionFiles(lips="h.mp4")) == pytest.approx(12)
    assert held(driving="d.mp4", head_range=5.0) == pytest.approx(5)


def test_a_framed_picture_is_no_larger_than_the_size_that_is_asked_for(tmp_path, talking_face):
    big = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    portrait = subject(InferRun(size=64), talking_face, big, framed=True)
    assert portrait.picture.shape == (64, 64, 3)


def test_a_photograph_heeds_what_a_video_cannot(tmp_path, talking_face, picture):
    Image.fromarray(picture).save(tmp_path / "p.png")
    run = InferRun(
        image=tmp_path / "p.png",
        output=tmp_path / "o.mp4",
        size=64,
        seconds=0.2,
        keep_expression=0.5,
        steps=3,
    )
    assert len(list(VideoReader(animate(run, talking_face).video))) == 5
    assert talking_face.motion.seen["steps"] == 3
