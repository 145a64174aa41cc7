"""The whole chain at tiny size, through its scripts: frames, stage 1, latents, stage 2, bundle, video."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vasa.checkpoint import content_hash, load_weights
from vasa.config import DOORS, ROOT, RUNS
from vasa.data.latent_cache import LatentCache
from vasa.face.config import MOTION_ENCODERS
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.records import AUDIO_HZ
from vasa.video import VideoReader

pytestmark = pytest.mark.timeout(1200)  # half a minute on an idle core; others may keep it busy
CLIP_FRAMES = 20
SECONDS = 0.9  # of the sound that is spoken: 22.5 frames
FRAMES = 23  # floor(25 * SECONDS + 0.5)


def script(name: str) -> Callable[[Sequence[str]], None]:
    """scripts/<name>.py as a function of its arguments."""
    return runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))["run"]


def train(folder: Path) -> None:
    """Both stages at tiny size, as `make train-demo` runs them, into ``folder``."""
    pairs = ["pairs.num_identities=16", "pairs.frames=4", "pairs.size=64", "pairs.randomised_share=0"]
    judged = ["validation_identities=16", "validation_batches=1"]
    cached = [f"pairs.cache={folder}/frames", "losses.encoder_steps=2"]
    size = ["face=tiny", "run=smoke", f"run_dir={folder}/face"]
    script("train_face")([*size, *pairs, *judged, *cached])
    clips = [f"clips.seconds={CLIP_FRAMES / 25}", "clips.spoken.espeak_share=0", "variants=2", "device=cpu"]
    for name, split, heads in (
        ("frames", "train", 0),
        ("train", "train", 1),
        ("validation", "validation", 1),
    ):
        place = [f"face={folder}/face", f"output={folder}/latents/{name}"]
        chosen = [f"split={split}", f"label_heads={heads}", "clips.num_clips=2"]
        script("encode_motion")([*place, *chosen, *clips])
    steep = ["optimizer.learning_rate=0.03", "optimizer.warmup_steps=0"]  # so that four steps move something
    for name in ("frames", "train"):
        read = [f"cache={folder}/latents/{name}", f"validation_cache={folder}/latents/validation"]
        shown = [f"face={folder}/face", "film_seconds=0.4"]
        run = ["motion=tiny", "run=smoke", f"run_dir={folder}/motion_{name}"]
        script("train_motion")([*run, *read, *steep, *shown])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of ``train``, and a checkpoint folder of the label variant's motion model."""
    folder = tmp_path_factory.mktemp("chain")
    train(folder)
    both = [f"face={folder}/face", f"motion={folder}/motion_train"]
    script("bundle")([*both, f"output={folder}/checkpoint"])
    return folder


def speak(runs: Path, folder: Path, name: str, *arguments: str) -> Path:
    """A video of a held-out portrait and a held-out voice, read from files."""
    picture, sound = folder / "a portrait.png", folder / "some speech.wav"
    Image.fromarray(demo_portrait(1, 128)[0]).save(picture)
    soundfile.write(sound, demo_speech(1, 1.0)[: round(SECONDS * AUDIO_HZ)], AUDIO_HZ)
    given = [f"image={picture}", f"audio={sound}", f"checkpoint={runs}/checkpoint", "device=cpu"]
    found = ["allow_centre_crop=true", "detector.landmarks=null"]
    script("infer")([*given, *found, f"output={folder}/{name}.mp4", "size=64", *arguments])
    return folder / f"{name}.mp4"


def test_latents_of_frames_and_of_labels_are_the_same_clips_in_the_same_code(runs: Path) -> None:
    frames, labels = (LatentCache(runs / "latents" / name) for name in ("frames", "train"))
    wanted = content_hash(runs / "face" / "face.safetensors", MOTION_ENCODERS)
    assert frames.header.face_hash == labels.header.face_hash == wanted
    assert [c.clip_id for c in frames.clips] == [c.clip_id for c in labels.clips]
    for clip in range(2):
        assert frames.motion(clip).shape == labels.motion(clip).shape == (CLIP_FRAMES, 22)
        assert torch.equal(frames.features(clip), labels.features(clip))
        assert not torch.equal(frames.motion(clip), labels.motion(clip))


@pytest.mark.parametrize("variant", ["frames", "train"])
def test_both_kinds_of_latents_train_a_motion_model_of_this_face(runs: Path, variant: str) -> None:
    motion = load_weights(runs / f"motion_{variant}" / "motion.safetensors")
    assert motion.config["face_hash"] == content_hash(runs / "face" / "face.safetensors", MOTION_ENCODERS)
    assert motion.meta["steps"] == 4
    logged = [json.loads(s) for s in (runs / f"motion_{variant}" / "metrics.jsonl").read_text().splitlines()]
    assert any("x0_error" in name for line in logged for name in line)
    film = runs / f"motion_{variant}" / "previews" / "00000004.mp4"
    assert len(list(VideoReader(film))) == 10 and film.with_suffix(".png").is_file()


def test_what_was_trained_speaks_and_a_rerun_gives_the_same_frames(runs: Path, tmp_path: Path) -> None:
    video = speak(runs, tmp_path, "first", "seed=3")
    frames = np.stack(list(VideoReader(video)))
    assert frames.shape == (FRAMES, 64, 64, 3)
    with av.open(str(video)) as container:
        sound = container.streams.audio[0]
        assert (container.streams.video[0].codec_context.name, sound.codec_context.name) == ("h264", "aac")
        # to within the frame that the video is rounded up to
        assert float(sound.duration * sound.time_base) == pytest.approx(SECONDS, abs=0.04)
    report = json.loads(video.with_suffix(".provenance.json").read_text())
    assert (report["frames"], report["fps"], report["seed"]) == (FRAMES, 25, 3)
    for name in ("face", "motion"):
        weights = runs / "checkpoint" / f"{name}.safetensors"
        assert report["checkpoint"][f"{name}_sha256"] == content_hash(weights)
    with Image.open(video.with_suffix(".sheet.png")) as sheet:
        assert min(sheet.size) >= 2 * 64  # two rows of six
    again = speak(runs, tmp_path, "again", "seed=3")
    assert np.array_equal(np.stack(list(VideoReader(again))), frames)
    assert again.read_bytes() == video.read_bytes()
    other = speak(runs, tmp_path, "other", "seed=4")
    assert not np.array_equal(np.stack(list(VideoReader(other))), frames)


def test_the_same_commands_again_change_nothing(runs: Path) -> None:
    def contents() -> dict[str, bytes]:
        kept = [*runs.rglob("*.safetensors"), *(runs / "latents").rglob("*.json")]
        return {str(path): path.read_bytes() for path in kept}

    before = contents()
    assert len(before) > 10
    train(runs)
    assert contents() == before


@pytest.mark.parametrize("name", sorted(RUNS))
def test_every_script_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, *words = DOORS.get(name, f"{name}.py").split()
    script(file.removesuffix(".py"))([*words, "--help"])
    said = capsys.readouterr().out
    assert f"python scripts/{' '.join([file, *words])} [name=value ...]" in said
