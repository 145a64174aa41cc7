"""LivePortrait and JoyVASA from published files to videos, with made-up weights in files of the true form."""

import argparse
import csv
import io
import json
import pickle
import runpy
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from joyvasa_cases import template, tiny_model
from keypoint_cases import NARROW, made_up
from landmark_files import write_landmarks
from PIL import Image
from safetensors.torch import load_file

from vasa.checkpoint import CheckpointError
from vasa.face.keypoints.config import RulesConfig
from vasa.face.keypoints.networks import PUBLISHED, RETARGETING_PARTS
from vasa.face.keypoints.template import read_template
from vasa.inference.animate import Animator, load_face
from vasa.inference.config import GuidanceOverride, InferRun, PublishedRun
from vasa.inference.demo import demo_portrait
from vasa.inference.published import bundle_published, published, verified
from vasa.pretrained.registry import FrozenNetwork
from vasa.pretrained.systems import parts_of
from vasa.safe_pickle import load_arrays
from vasa.video import VideoReader, VideoWriter


def write_files(folder, system="joyvasa", species="human"):
    """The files of a system where action=fetch puts them; JoyVASA's table is of faces that move little."""
    networks, parts = made_up(species), parts_of(system, species)
    for name in PUBLISHED:
        path = folder / parts[name].file
        path.parent.mkdir(parents=True, exist_ok=True)
        content = networks.get_submodule(name).state_dict()
        if name == "retargeting":
            content = {
                theirs: networks.retargeting.get_submodule(ours).state_dict()
                for theirs, ours in RETARGETING_PARTS.items()
            }
        torch.save(content, path)
    if system == "joyvasa":
        motion, statistics = (folder / parts[name].file for name in ("speech_to_motion", "template"))
        for path in (motion, statistics):
            path.parent.mkdir(parents=True, exist_ok=True)
        model = tiny_model(num_heads=8)
        args = argparse.Namespace(
            motion_feat_dim=73, n_motions=model.config.window_frames, n_prev_motions=3, n_diff_steps=6
        )
        torch.save({"args": args, "model": model.state_dict(), "iter": 1}, motion)
        table = {name: value * 0.05 for name, value in template().items()}
        table |= {"min_scale": np.full(1, 1.2, np.float32), "max_scale": np.full(1, 1.4, np.float32)}
        statistics.write_bytes(pickle.dumps(table, 4))
    return folder


def run_of(folder, output, **changes):
    return PublishedRun(action="bundle", folder=folder, output=output, narrow=NARROW, **changes)


@pytest.fixture(scope="module")
def joyvasa(tmp_path_factory):
    """A JoyVASA checkpoint; the hash of its file is not the published one's."""
    folder = tmp_path_factory.mktemp("joyvasa")
    write_files(folder / "files")
    run = run_of(folder / "files", folder / "checkpoint")
    return bundle_published(run, parts_of("joyvasa", "human"), folder / "files")


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("portrait") / "me.png"
    Image.fromarray(demo_portrait(3, 256)[0]).save(path)
    return path


@pytest.fixture
def infer(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("VASA_CACHE", "TORCH_HOME", "HOME"):  # where landmark networks might lie
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    return runpy.run_path(str(root / "scripts" / "infer.py"))["run"]


def sound_file(path, seconds):
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.1 * rng.normal(size=round(16_000 * seconds)), 16_000)
    return path


def frames_of(path):
    return np.stack(list(VideoReader(path)))


def refused(infer, capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        infer(list(arguments))
    assert stop.value.code == 1
    return capsys.readouterr().err


def test_speech_moves_a_portrait_for_as_long_as_it_lasts(infer, joyvasa, portrait, tmp_path):
    sound = sound_file(tmp_path / "speech.wav", 0.44)
    common = [f"checkpoint={joyvasa}", f"image={portrait}", "size=256"]
    infer(
        [
            *common,
            f"audio={sound}",
            "output=a.mp4",
            "save_motion=true",
            "motion_csv=true",
            "save_template=true",
        ]
    )
    first = frames_of(Path("a.mp4"))
    assert first.shape == (11, 256, 256, 3)
    assert np.abs(first[5].astype(int) - first[10]).mean() > 0.05
    said = json.loads(Path("a.provenance.json").read_text())
    assert said["checkpoint"]["system"] == "joyvasa" and len(said["checkpoint"]["motion_sha256"]) == 64
    rows = list(csv.reader(Path("a.motion.csv").read_text().splitlines()))
    assert rows[0][:4] == ["time", "yaw", "pitch", "roll"] and rows[0][-1] == "point20_z" and len(rows) == 12
    short = sound_file(tmp_path / "short.wav", 0.12)
    for name, seed in (("b", 0), ("c", 0), ("f", 5)):
        infer([*common, f"audio={short}", f"output={name}.mp4", f"seed={seed}"])
    once, again, other = (frames_of(Path(f"{name}.mp4")) for name in "bcf")
    assert np.array_equal(once, again) and not np.array_equal(once, other)
    shutil.copy("a.motion.safetensors", "kept.safetensors")  # under whatever name
    infer([*common, "motion=kept.safetensors", "output=d.mp4", "save_motion=true"])
    replayed, shown = (load_file(f"{name}.motion.safetensors")["values"] for name in "da")
    torch.testing.assert_close(replayed, shown, atol=1e-5, rtol=0)
    template = load_arrays(Path("a.motion.pkl"))
    assert template["n_frames"] == 11 and template["output_fps"] == 25
    assert template["motion"][0]["exp"].shape == (1, 21, 3)
    infer([*common, f"driving={write_template_file(tmp_path / 't.pkl', 25, 3)}", "output=e.mp4"])
    assert len(frames_of(Path("e.mp4"))) == 3


def test_rules_and_controls_reach_the_frames(joyvasa, portrait, tmp_path):
    common = {"checkpoint": joyvasa, "image": portrait, "size": 256, "batch_frames": 1}
    common["audio"] = sound_file(tmp_path / "speech.wav", 0.12)
    animator = Animator(load_face(InferRun(**common)))

    def made(**given):
        path = tmp_path / "made.mp4"
        animator.make(InferRun(**common, **given), path)
        return frames_of(path).astype(int)

    plain, still = made(), made(keypoints=RulesConfig(multiplier=0.0))
    assert np.abs(still - still[:1]).max() <= 8  # the codec's
    others = [{"keypoints": RulesConfig(**{name: value})} for name, value in
              (("region", "lip"), ("stitching", False), ("friendly", False))]  # fmt: skip
    for given in [*others, {"head_yaw": 10.0}, {"distance": 1.3}]:
        assert np.abs(made(**given) - plain).mean() > 0.01, given
    assert np.abs(still - plain).mean() > 0.01
    published = made(keypoints=RulesConfig(compat="upstream"))
    assert len(published) == len(plain) + 3  # 80 ms of silence before the sound, 40 ms behind it
    assert np.array_equal(published, made(keypoints=RulesConfig(compat="upstream")))
    stronger = made(keypoints=RulesConfig(compat="upstream"), guidance=GuidanceOverride(audio=9.0))
    assert np.abs(stronger - published).mean() > 0.01
    with pytest.raises(ValueError, match="JoyVASA hears sound and knows no emotion"):
        noise = np.zeros(1600, np.float32)
        list(animator.face.generate(demo_portrait(3, 256)[0], noise, 16_000, size=256, emotion="happy"))


def test_a_system_is_tried_and_measured(joyvasa):
    """Made-up weights give no portrait back, which is what the trial finds; and the video is there."""
    run = PublishedRun(action="try", output=joyvasa, seconds=0.2)
    with pytest.raises(ValueError, match=r"the portrait as itself, PSNR dB.*: out of the range") as told:
        published(run)
    assert "| scale of the portrait | 1." in str(told.value)
    assert "| movement of the jaw's point 19, deviation |" in str(told.value)
    assert frames_of(joyvasa / "trial.mp4").shape[0] == 5
    with pytest.raises(ValueError, match=r"seconds is 0\.1; wanted 0\.2 to 60"):
        PublishedRun(action="try", seconds=0.1)


def test_a_video_drives_and_a_list_is_made(infer, joyvasa, portrait, tmp_path):
    sound = sound_file(tmp_path / "speech.wav", 0.12)
    common = [f"checkpoint={joyvasa}", "size=256", "batch_frames=1"]
    picture = np.asarray(Image.open(portrait))
    with VideoWriter(Path("talk.mp4"), 256, 256, 25) as writer:
        for number in range(4):
            writer.write(np.roll(picture, number, 1))
    infer([*common, f"image={portrait}", "driving=talk.mp4", "output=driven.mp4", "paste=true"])
    assert len(frames_of(Path("driven.mp4"))) == 4
    infer([*common, "image=talk.mp4", f"audio={sound}", "output=dubbed.mp4"])
    infer([*common, "image=talk.mp4", "driving=talk.mp4", "output=again.mp4", "keypoints.smooth=1e-6"])
    assert [len(frames_of(Path(f"{name}.mp4"))) for name in ("dubbed", "again")] == [3, 4]
    Path("jobs.csv").write_text(
        f"name,image,audio,seed,keypoints.region\na,{portrait},{sound},1,all\nb,{portrait},{sound},2,lip\n"
        f"c,{portrait},nothing.wav,2,all\n"
    )
    with pytest.raises(SystemExit):
        infer([*common, "list=jobs.csv", "out=videos"])
    made = sorted(path.name for path in Path("videos").glob("*.mp4"))
    assert len(made) == 2


def test_a_picture_drives_and_landmarks_open_eyes(infer, joyvasa, portrait, tmp_path):
    """Held as long as the sound; openings of landmarks from a file that is named reach the frames."""
    sound = sound_file(tmp_path / "speech.wav", 0.12)
    common = [f"checkpoint={joyvasa}", f"image={portrait}", f"audio={sound}", f"driving={portrait}"]
    common += [f"landmarks.points203={write_landmarks(tmp_path / 'landmark.onnx', 203)}", "size=256"]
    infer([*common, "batch_frames=1", "output=a.mp4"])
    infer([*common, "batch_frames=1", "output=b.mp4", "keypoints.eye_retargeting=true"])
    plain, opened = (frames_of(Path(name)).astype(int) for name in ("a.mp4", "b.mp4"))
    assert plain.shape == opened.shape == (3, 256, 256, 3)
    assert np.abs(plain - plain[:1]).max() <= 8 and np.abs(opened - plain).mean() > 0.01
    said = json.loads(Path("a.provenance.json").read_text())
    assert "203 points" in said["face"]["found_by"] and said["model"]["landmarks"] == "203"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["gaze_yaw=5"], "gaze_yaw is given, but this checkpoint's face space is of keypoints"),
        (["emotion=happy", "blink_rate=10"], "emotion and blink_rate are given"),
        (["fast=true"], "has no motion_fast.safetensors"),
        (["keypoints.region=nose"], "region is 'nose'; wanted one of auto, all, exp, pose, lip, eyes"),
        (["keypoints.eye_retargeting=true"], "motion made of sound does not tell openings"),
        (["keypoints.close_lips=true"], "the source has no ratios of its eyes and lips: five points"),
        (["landmarks.points203=no.onnx"], "landmarks.points203='no.onnx' does not exist; get landmark.onnx"),
        (["driving=no.pkl"], "no.pkl does not exist"),
        (["keypoints.smooth=0.1"], "keypoints.smooth is given, for sources that are videos"),
        (["keypoints.compat=upstream", "guidance.gaze=1"], "JoyVASA is guided by audio alone"),
        (["keypoints.compat=upstream", "driving=no.mp4"], "for motion made of sound, but driving is given"),
        (["keypoints.driving_scale=3"], "keypoints.driving_scale is given, but no video or picture"),
        (["keypoints.close_lips=true", "keypoints.lip_retargeting=true"], "each say how open the same is"),
        (["motion=me.png"], "me.png"),
        (["keypoints.compat=late"], "compat is 'late'; wanted one of none, upstream"),
    ],
)
def test_what_it_cannot_do_is_said_in_a_sentence(infer, joyvasa, portrait, tmp_path, capsys, given, words):
    sound = sound_file(tmp_path / "speech.wav", 0.2)
    arguments = [f"checkpoint={joyvasa}", f"image={portrait}", "size=256", f"audio={sound}", "output=x.mp4"]
    assert words in refused(infer, capsys, *arguments, *given)
    assert not Path("x.mp4").exists()


def test_precision_is_that_of_pictures_and_where_it_is_named_of_motion(joyvasa):
    dtypes = {
        name: (face.face.precision, face.motion.model.precision)
        for name in ("fp32", "bf16")
        for face in [load_face(InferRun(checkpoint=joyvasa, precision=name))]
    }
    assert dtypes == {"fp32": (torch.float32,) * 2, "bf16": (torch.bfloat16,) * 2}
    assert load_face(InferRun(checkpoint=joyvasa)).motion.model.precision == torch.float32
    with pytest.raises(ValueError, match="precision is 'fp8'; wanted one of auto, fp32, bf16"):
        InferRun(precision="fp8")


def test_rules_are_refused_by_other_spaces(infer, tiny_runs, portrait, tmp_path, capsys, root):
    from vasa.inference.bundle import bundle
    from vasa.inference.config import BundleRun

    tiny = bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path / "tiny"))
    common = (f"checkpoint={tiny}", f"image={portrait}", "seconds=0.2", "size=64", "allow_centre_crop=true")
    said = refused(infer, capsys, *common, "keypoints.multiplier=2")
    assert "keypoints.multiplier is given, but this checkpoint's face space is not of keypoints" in said
    said = refused(infer, capsys, *common, "landmarks.points106=a.onnx")
    assert "landmarks are named, but the face space of checkpoint" in said
    said = refused(infer, capsys, *common, "save_template=true")
    assert "save_template writes motion of keypoints" in said
    drawn = write_template_file(tmp_path / "t.pkl", 25)
    assert "is a motion template, of keypoints" in refused(infer, capsys, *common, f"driving={drawn}")


# ---------------------------------------------------------------------- files


def test_an_animal_and_liveportrait_alone(infer, portrait, tmp_path, capsys):
    files = write_files(tmp_path / "files", "liveportrait", "animal")
    run = run_of(files, tmp_path / "animal", system="liveportrait", species="animal")
    said = published(run)
    assert "Bundled into" in said and "none is listed" in said
    assert json.loads((run.output / "bundle.json").read_text())["species"] == "animal"
    assert "LivePortrait's face space, for animals" in (run.output / "README.md").read_text()
    sound = sound_file(tmp_path / "speech.wav", 0.2)
    common = [f"checkpoint={run.output}", f"image={portrait}", "size=256", "batch_frames=1"]
    assert "has no motion model" in refused(infer, capsys, *common, f"audio={sound}", "output=x.mp4")
    still = f"driving={write_template_file(tmp_path / 'one.pkl', 25, 1)}"
    for one in (still, f"driving={portrait}"):
        said = refused(infer, capsys, *common, one, "output=x.mp4")
        assert "is one frame, but an animal moves as a driver moves" in said
    drawn = write_template_file(tmp_path / "t.pkl", 30, 4)
    for given, words in (
        ("keypoints.region=lip", "of animals, which follow the whole motion"),
        ("keypoints.friendly=false", "of animals, which follow the whole motion"),
        ("keypoints.crop_scale=3", "nothing here finds; name the square by face_box"),
        ("pose=absolute", "move from the driver's first frame on"),
        ("landmarks.points68=fan.tar", "is of animals, and these networks know people"),
    ):
        assert words in refused(infer, capsys, *common, f"driving={drawn}", given, "output=x.mp4")
    infer([*common, f"driving={drawn}", "output=animal.mp4"])
    assert len(frames_of(Path("animal.mp4"))) == 3


def write_template_file(path, fps, count=12, **changes):
    """A template in the older spelling, of a head that turns."""
    from vasa.face.keypoints.camera import rotation

    zero = torch.zeros(count)
    turned = rotation(zero, torch.linspace(0, 10, count), zero).numpy()
    frames = [
        {"scale": np.full((1, 1), 1.3, np.float32), "R_d": turned[i : i + 1],
         "exp": np.zeros((1, 21, 3), np.float32), "t": np.zeros((1, 3), np.float32)}
        for i in range(count)
    ]  # fmt: skip
    content = {"n_frames": count, "output_fps": fps, "motion": frames}
    content["c_d_eyes_lst"] = [np.full((1, 2), 0.3, np.float32)] * count
    path.write_bytes(pickle.dumps(content | changes, 4))
    return path


def test_templates_are_brought_to_our_rate_and_checked(tmp_path):
    motion = read_template(write_template_file(tmp_path / "a.pkl", 30))
    assert len(motion) == 10 and motion.eyes.shape == (10, 2) and motion.lips is None
    torch.testing.assert_close(motion.turned @ motion.turned.transpose(1, 2), torch.eye(3).expand(10, 3, 3))
    with pytest.raises(ValueError, match="has no list 'motion'"):
        read_template(write_template_file(tmp_path / "b.pkl", 25, motion=[]))
    with pytest.raises(ValueError, match=r"frame 0 has no R of shape \(1, 3, 3\)"):
        read_template(write_template_file(tmp_path / "c.pkl", 25, motion=[{"scale": np.ones((1, 1))}]))
    for changes, words in (
        ({"motion": [3, "frame"]}, "has no list 'motion' of frames"),
        ({"output_fps": "fast"}, "output_fps is 'fast'; wanted 1 to 240"),
        ({"output_fps": float("nan")}, "output_fps is nan"),
        ({"c_eyes_lst": [np.zeros((1, 3), np.float32)] * 12}, r"frame 0 has no c_eyes_lst of shape \(1, 2\)"),
        ({"c_lip_lst": [np.full((1, 1), np.inf)] * 12}, "c_lip_lst of frame 0 is not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            read_template(write_template_file(tmp_path / "d.pkl", 25, **changes))
    shared = Path(__file__).resolve().parents[3] / "shared" / "media" / "motion"
    if not shared.is_dir():
        pytest.skip("no ../shared")
    for path in sorted(shared.glob("*.pkl")):
        assert len(read_template(path)) > 10


def test_a_folder_that_is_bundled_again_keeps_no_motion_model_of_before(tmp_path):
    files = write_files(tmp_path / "files")
    published(run_of(files, tmp_path / "out"))
    write_files(tmp_path / "files", "liveportrait")
    published(run_of(files, tmp_path / "out", system="liveportrait"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "bundle.json",
        "face.safetensors",
    }


def test_what_is_missing_is_listed_with_its_place(tmp_path):
    run = PublishedRun(action="verify", folder=tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"7 of 7 files are missing in .*motion_template\.pkl; download .* and hugg"
    ):
        published(run)
    listed = published(PublishedRun(folder=tmp_path))
    assert listed.count("| no |") == 7 and "huggingface.co/jdh-algo/JoyVASA" in listed


def test_another_file_than_the_listed_one_is_told(tmp_path, caplog):
    """Verifying ends on it; bundling says it, because the file was published anew before."""
    files = write_files(tmp_path / "files")
    said = "is not joyvasa_speech_to_motion: its SHA-256 is"
    with pytest.raises(CheckpointError, match=said):
        published(PublishedRun(action="verify", folder=files))
    assert said not in caplog.text
    assert "Bundled into" in published(run_of(files, tmp_path / "out"))
    assert said in caplog.text and (tmp_path / "out" / "motion.safetensors").is_file()


def test_a_file_is_fetched_compared_and_not_fetched_twice(tmp_path, monkeypatch):
    from vasa.inference import published as module

    source = tmp_path / "source.bin"
    source.write_bytes(b"weights")
    part = FrozenNetwork("a", "x/a.pth", "here", "MIT", "role", "nobody", url=source.as_uri())
    module._fetch(part, tmp_path / "cache" / part.file)
    source.unlink()
    module._fetch(part, tmp_path / "cache" / part.file)
    assert (tmp_path / "cache/x/a.pth").read_bytes() == b"weights"
    assert "none is listed" in verified(part, tmp_path / "cache/x/a.pth")
    told = SimpleNamespace(headers={"Content-Length": "9"}, read=io.BytesIO(b"half").read)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: nullcontext(told))
    with pytest.raises(ConnectionError, match=r"it ended after 4 of 9 bytes"):
        module._fetch(part, tmp_path / "cache" / "half.pth")
    assert not (tmp_path / "cache" / "half.pth").exists()
    monkeypatch.undo()
    with pytest.raises(ConnectionError, match=r"cannot be downloaded .* put it to .*b\.pth"):
        module._fetch(part, tmp_path / "cache" / "b.pth")
    assert not (tmp_path / "cache" / "b.pth").exists()


def test_a_hostile_file_runs_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    files = write_files(tmp_path / "files", "liveportrait")
    (files / parts_of("liveportrait", "human")["motion"].file).write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(CheckpointError, match=r"motion_extractor\.pth cannot be read as weights"):
        published(run_of(files, tmp_path / "out", system="liveportrait"))
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out" / "bundle.json").exists()
