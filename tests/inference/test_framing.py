"""Where a photograph's face is said to be, that square is shown; of animals, the middle."""

import json
import logging

import numpy as np
import pytest
from keypoint_cases import made_up
from PIL import Image

from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.space import KeypointFace
from vasa.inference.animate import Animator, animate
from vasa.inference.batch import run_list
from vasa.inference.combinations import check_together
from vasa.inference.config import InferRun
from vasa.inference.performance import subject
from vasa.inference.pipeline import TalkingFace


def test_the_named_square_is_what_is_shown(talking_face, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "p.png")
    run = InferRun(
        image=tmp_path / "p.png", output=tmp_path / "o.mp4", size=64, seconds=0.2, face_box="[4, 10,32]"
    )
    files = animate(run, talking_face)
    said = json.loads(files.provenance.read_text())
    assert said["face"]["found_by"] == "face_box" and said["request"]["options"]["face_box"] == "[4, 10,32]"
    crop = said["face"]["crop"]
    assert (crop["centre_x"], crop["centre_y"], crop["side"]) == (20.0, 26.0, 32.0)
    portrait = talking_face.prepare(picture, 64, face_box=(4.0, 10.0, 32.0))
    assert np.array_equal(portrait.picture, picture[10:42, 4:36])


def test_a_face_that_nothing_finds_is_shown_where_it_is_said_to_be(talking_face):
    black = np.zeros((60, 60, 3), np.uint8)
    with pytest.raises(ValueError, match="no face was found"):
        talking_face.prepare(black, 64)
    assert talking_face.prepare(black, 64, face_box=(0.0, 0.0, 60.0)).picture.shape == (60, 60, 3)


@pytest.mark.parametrize("box", [(-1.0, 0.0, 20.0), (0.0, 17.0, 32.0), (9.0, 0.0, 32.0)])
def test_a_square_outside_the_picture_is_refused(talking_face, picture, box):
    with pytest.raises(ValueError, match=r"outside the picture of 40x48 pixels; .* x \+ side at most 40 and"):
        talking_face.prepare(picture, 64, face_box=box)


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "1,2,nan", "1,2,-30", "1,2,15", "1,2,30,4"])
def test_what_is_no_square_is_refused(text):
    with pytest.raises(ValueError, match="wanted x,y,side in pixels, such as 120,40,360"):
        InferRun(image="p.png", face_box=text)


def test_a_square_that_would_not_be_heeded_is_refused(talking_face, picture):
    with pytest.raises(ValueError, match="a square that is named is not searched"):
        InferRun(image="p.png", face_box="1,2,30", allow_centre_crop=True)
    with pytest.raises(ValueError, match="face_box=1,2,30 comes without an image"):
        check_together(InferRun(face_box="1,2,30"))
    with pytest.raises(ValueError, match="is framed already; leave it out"):
        subject(InferRun(size=64, face_box="1,2,30"), talking_face, picture, framed=True)


def test_a_portrait_is_made_ready_anew_for_another_square(talking_face, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "p.png")
    animator = Animator(talking_face)
    sides = []
    for box in ("0,0,32", "0,0,32", "0,0,40"):
        run = InferRun(image=tmp_path / "p.png", size=64, seconds=0.12, face_box=box)
        sides.append(animator.make(run, tmp_path / "o.mp4").generation.size)
    assert sides == [32, 32, 40]


def test_a_row_of_a_list_names_its_square(talking_face, picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "p.png")
    rows = ["name,image,face_box", 'a,p.png,"0,0,32"', 'b,p.png,"0,0,99"', "c,p.png,"]
    (tmp_path / "jobs.csv").write_text("\n".join(rows) + "\n")
    run = InferRun(list=tmp_path / "jobs.csv", size=64, driving=None, audio=sound(tmp_path))
    with pytest.raises(ValueError, match="1 of 3 rows failed"):
        run_list(run, talking_face)
    assert "outside the picture" in (tmp_path / "failed.csv").read_text()
    found = [json.loads((tmp_path / f"{n}.provenance.json").read_text())["face"]["found_by"] for n in "ac"]
    assert found == ["face_box", "whole"]


def sound(folder):
    import soundfile

    soundfile.write(folder / "s.wav", np.full(3200, 0.1), 16_000)
    return folder / "s.wav"


def test_of_an_animal_the_middle_is_shown_and_said(talking_face, picture, caplog):
    space = KeypointFace(made_up("animal"))
    face = TalkingFace(space, talking_face.motion, talking_face.speech, talking_face.aligner)
    cat = np.zeros((400, 300, 3), np.uint8)  # in which the aligner finds nobody
    with caplog.at_level(logging.INFO):
        portrait = face.prepare(cat, 256)
    assert (portrait.found.found_by, portrait.found.crop.side) == ("centre", 300.0)
    assert "middle is shown, face_box=0,30,300; name another square" in caplog.text
    named = face.prepare(cat, 256, face_box=(20.0, 40.0, 260.0))
    assert (named.found.crop.centre_x, named.found.crop.centre_y) == (150.0, 170.0)
    assert named.picture.shape == (256, 256, 3)
    with pytest.raises(ValueError, match="is given, beside face_box, which names the square itself"):
        face.prepare(cat, 256, face_box=(20.0, 40.0, 260.0), rules=RulesConfig(crop_scale=2.0))
    person = TalkingFace(
        KeypointFace(made_up()), talking_face.motion, talking_face.speech, talking_face.aligner
    )
    with pytest.raises(ValueError, match="no face was found"):
        person.prepare(cat, 256)
