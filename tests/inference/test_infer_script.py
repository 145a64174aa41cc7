"""The two scripts from the outside: no argument is needed, and a mistake is one sentence and exit code 1."""

import json
import resource
import runpy

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun
from vasa.inference.pipeline import TalkingFace
from vasa.pretrained.config import DetectorConfig
from vasa.video import VideoReader, VideoWriter


@pytest.fixture(scope="module")
def checkpoint(tiny_runs, tmp_path_factory):

    return bundle(
        BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path_factory.mktemp("tiny") / "demo")
    )


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    """An empty folder that is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def infer(root):
    return runpy.run_path(str(root / "scripts" / "infer.py"))["run"]


def test_without_picture_and_sound_a_synthetic_person_speaks(infer, checkpoint, work_folder):
    infer([f"checkpoint={checkpoint}", "seconds=0.4", "size=64"])
    made = work_folder / "outputs" / "demo"
    assert sorted(path.name for path in made.iterdir()) == [
        "INTENDED_USE.md",
        "contact_sheet.png",
        "demo.mp4",
        "demo.provenance.json",
    ]
    frames = list(VideoReader(made / "demo.mp4"))
    assert (len(frames), frames[0].shape) == (10, (64, 64, 3))
    report = json.loads((made / "demo.provenance.json").read_text())
    assert report["face"]["found_by"] == "drawn"
    assert {known["made"] for known in report["inputs"].values()} == {"synthetic"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["image=nobody.jpg"], "image 'nobody.jpg' does not exist"),
        (["emotion=joyful"], "emotion is 'joyful'; wanted one of neutral, happy"),
        (["gaze_yaw=50"], "gaze_yaw is 50 degrees"),
        (["emotoin=happy"], "Option emotoin does not exist; did you mean emotion?"),
        (["checkpoint=nowhere"], "checkpoint 'nowhere' has no bundle.json"),
        (["device=abacus", "checkpoint=CHECKPOINT"], "device=abacus is unknown"),
        (["output=o.gif"], "wanted a name ending in .mp4"),
        (["size=77"], "size is 77; wanted an even number"),
        (["pose=sideways"], "pose is 'sideways'; wanted one of relative, absolute"),
        (["image=tiny.png", "checkpoint=CHECKPOINT", "audio=a.wav"], "image 'tiny.png': no face was found"),
        (["image=grey.png", "checkpoint=CHECKPOINT", "audio=a.wav"], "image 'grey.png': no face was found"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(infer, checkpoint, work_folder, capsys, arguments, words):
    Image.new("RGB", (128, 128), (99, 99, 99)).save("grey.png")
    Image.new("RGB", (16, 16), (99, 99, 99)).save("tiny.png")
    soundfile.write("a.wav", np.zeros(1600, np.float32), 16_000)
    before = sorted(work_folder.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        infer([argument.replace("CHECKPOINT", str(checkpoint)) for argument in arguments])
    assert stopped.value.code == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert words in said
    assert sorted(work_folder.rglob("*")) == before


def test_bundle_writes_a_folder_that_infer_takes(root, tiny_runs, tmp_path):
    run = runpy.run_path(str(root / "scripts" / "bundle.py"))["run"]
    run([f"face={tiny_runs}", f"motion={tiny_runs}", f"output={tmp_path / 'made'}"])
    assert (tmp_path / "made" / "bundle.json").is_file()


@pytest.mark.gpu
def test_a_gpu_makes_the_same_video_within_rounding(checkpoint, drawn_face):
    waveform = np.sin(np.arange(16_000) / 7).astype(np.float32)
    made = []
    for device in ("cpu", "cuda"):
        face = TalkingFace.from_pretrained(checkpoint, device, DetectorConfig(landmarks=None))
        made.append(
            np.stack(list(face.generate(drawn_face, waveform, 16_000, allow_centre_crop=True))).astype(int)
        )
    assert torch.device("cuda") == face.device
    assert np.abs(made[0] - made[1]).mean() < 1.0  # of 255: other sums, the same motion


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_ten_minutes_take_no_more_memory_than_one(checkpoint, drawn_face, tmp_path):
    face = TalkingFace.from_pretrained(checkpoint, "cpu", DetectorConfig(landmarks=None))
    noise = np.random.default_rng(0).standard_normal(600 * 16_000).astype(np.float32) * 0.1
    portrait = face.prepare(drawn_face, size=64, allow_centre_crop=True)
    generation = face.generate(portrait, noise, 16_000)
    peaks = []
    with VideoWriter(
        tmp_path / "long.mp4", generation.size, generation.size, audio=noise, audio_hz=16_000
    ) as writer:
        for number, frame in enumerate(generation):
            writer.write(frame)
            if number % 1500 == 1499:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert writer.num_frames == 15_000
    assert len(peaks) == 10
    assert peaks[-1] - peaks[0] < 50  # MB; a minute of frames alone would be 18, a minute of features kept 2
