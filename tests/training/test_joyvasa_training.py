"""JoyVASA's denoiser and VASA's transformer trained on keypoint motion: data, resuming, what comes out."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vasa.checkpoint import CheckpointError, load_weights, save_weights
from vasa.config import load
from vasa.data.latent_cache import CacheError, CacheHeader, EncodedClip, LatentCache, LatentCacheWriter
from vasa.data.window_pairs import WindowPairs
from vasa.face.keypoints.networks import KeypointNetworks
from vasa.face.keypoints.template import PUBLISHED_KEYPOINTS, read_template, write_template
from vasa.face.spaces import encoders_hash
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun
from vasa.inference.film import MotionFilm
from vasa.inference.pipeline import TalkingFace
from vasa.motion.joyvasa_template import from_keypoints, to_keypoints
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.motion.windows import MotionGenerator
from vasa.pretrained.config import DetectorConfig
from vasa.records import SAMPLES_PER_FRAME
from vasa.training.encode_motion import encode_motion
from vasa.training.joyvasa_step import fitted_normalizer
from vasa.training.train_motion import train_motion

L, P = 10, 3
SMALL = [
    "joyvasa.network.window_frames=10",
    "joyvasa.network.history_frames=3",
    "joyvasa.network.width=32",
    "joyvasa.network.num_layers=2",
    "joyvasa.network.num_heads=4",
    "joyvasa.network.feedforward=48",
    "joyvasa.network.position_rows=20",
    "joyvasa.network.num_steps=6",
    "joyvasa.network.hubert.width=64",
    "joyvasa.network.hubert.num_layers=1",
    "joyvasa.network.hubert.feedforward=48",
    "joyvasa.network.hubert.conv_width=16",
    "joyvasa.network.hubert.position_kernel=16",
    "joyvasa.network.hubert.position_groups=4",
]


def keypoint_motion(num_frames, sound, seed=0):
    """Raw motion (T, 69) that follows the loudness of a sound, about a face at rest."""
    g = torch.Generator().manual_seed(seed)
    loud = sound.view(num_frames, SAMPLES_PER_FRAME).abs().mean(1, keepdim=True)
    motion = torch.randn(69, generator=torch.Generator().manual_seed(99)) * 0.05 + 0.3 * loud @ torch.randn(
        1, 69, generator=torch.Generator().manual_seed(98)
    )
    return motion + torch.randn(num_frames, 69, generator=g).cumsum(0) * 1e-3


def make_cache(folder, frames=(32, 25, 14), face_hash="f" * 64, keep_audio=True):
    header = CacheHeader(
        face_hash=face_hash,
        dynamics_dim=63,
        audio_dim=6,
        num_variants=1,
        audio={"kind": "logmel"},
        source={"keep_audio": keep_audio},
    )
    writer, clips = LatentCacheWriter(folder, header), []
    for index, count in enumerate(frames):
        g = torch.Generator().manual_seed(index)
        sound = torch.randn(count * SAMPLES_PER_FRAME, generator=g) * 0.3
        sound = sound * torch.rand(count, generator=g).repeat_interleave(SAMPLES_PER_FRAME)
        motion = keypoint_motion(count, sound, index)
        features = torch.randn(1, count, 6, generator=g)
        clips.append(EncodedClip(f"clip{index}", motion, features, audio=sound[None] if keep_audio else None))
    writer.write(0, clips)
    writer.finish(1)
    return LatentCache(folder)


def joyvasa_run(folder, *arguments):
    places = [f"cache={folder}/train", f"validation_cache={folder}/validation", f"run_dir={folder}/run"]
    common = ["experiment=joyvasa", "run=smoke", "motion=tiny", "validation_clips=2", *SMALL, *places]
    loop = ["loop.steps=4", "loop.batch_size=2", "loop.device=cpu", "loop.threads=1", "loop.logger=none"]
    every = [f"loop.{name}_every=2" for name in ("log", "save", "preview", "validate")]
    return load("train_motion", [*common, *loop, *every, *arguments])


@pytest.fixture
def caches(tmp_path):
    for name in ("train", "validation"):
        make_cache(tmp_path / name)
    return tmp_path


def test_motion_goes_to_joyvasa_s_terms_and_back():
    raw = torch.randn(5, 69) * 0.2
    torch.testing.assert_close(to_keypoints(from_keypoints(raw)), raw)
    there = from_keypoints(raw)
    assert there.shape == (5, 70) and not there[:, 5].any()
    torch.testing.assert_close(there[:, 0], -torch.rad2deg(raw[:, 0]))
    torch.testing.assert_close(there[:, 4], -raw[:, 4])


def test_statistics_are_of_all_clips(tmp_path):
    cache = make_cache(tmp_path / "one")
    normalizer = fitted_normalizer([cache])
    motion = torch.cat([from_keypoints(cache.motion(clip)) for clip in range(len(cache))])
    seen = normalizer.normalise(motion)
    exp, head = seen[:, :63], seen[:, 63:]
    torch.testing.assert_close(exp.mean(0), torch.zeros(63), atol=1e-3, rtol=0)
    torch.testing.assert_close(exp.std(0, correction=0), torch.ones(63), atol=1e-3, rtol=0)
    assert float(head.min()) >= 0 and float(head.max()) <= 1 + 1e-5
    torch.testing.assert_close(normalizer.denormalise(seen), motion, atol=1e-4, rtol=1e-4)


def test_pairs_of_windows_are_a_function_of_the_position_and_short_clips_are_padded(tmp_path):
    cache = make_cache(tmp_path / "one")
    whole = WindowPairs([cache], window_frames=L, batch_size=8, seed=3).batch_at(1)
    halves = [WindowPairs([cache], window_frames=L, batch_size=4, seed=3).batch_at(n) for n in (2, 3)]
    assert torch.equal(whole.motion, torch.cat([half.motion for half in halves]))
    assert torch.equal(whole.sound, torch.cat([half.sound for half in halves]))
    assert set(whole.lengths.tolist()) == {14, 20}
    for row, length in enumerate(whole.lengths.tolist()):
        clip = int(whole.ids[row].removeprefix("clip"))
        track = cache.motion(clip)
        start = next(n for n in range(len(track)) if torch.equal(track[n], whole.motion[row, 0]))
        heard = cache.audio(clip)[start * SAMPLES_PER_FRAME : (start + length) * SAMPLES_PER_FRAME]
        assert torch.equal(whole.sound[row, : len(heard)], heard)
        assert not whole.motion[row, length:].any() and not whole.sound[row, len(heard) :].any()


def test_it_trains_and_resumes_to_the_same_bits_with_the_speech_encoder_s_dropout(caches):
    straight = train_motion(joyvasa_run(caches, f"run_dir={caches}/straight"))
    broken = joyvasa_run(caches, f"run_dir={caches}/broken", "loop.steps=2")
    train_motion(broken)
    np.random.seed(5)  # SpecAugment draws from numpy: what others drew must not matter
    again = train_motion(replace(broken, loop=replace(broken.loop, steps=4)))
    one, other = load_weights(straight), load_weights(again)
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(value, other.tensors[name]) for name, value in one.tensors.items())
    assert one.meta["steps"] == 4 and one.config["face_hash"] == "f" * 64
    lines = [json.loads(line) for line in (caches / "straight/metrics.jsonl").read_text().splitlines()]
    scored = [line for line in lines if any("r_dynamics" in name for name in line)]
    assert scored and list((caches / "straight/previews").glob("*"))


def test_what_it_learned_follows_the_sound_and_can_be_trained_on(caches):
    steep = ["optimizer.learning_rate=3e-3", "loop.steps=120", "loop.batch_size=4", "loop.ema_decay=0.9"]
    rarely = [f"loop.{name}_every=1000" for name in ("log", "save", "preview", "validate")]
    path = train_motion(joyvasa_run(caches, *steep, *rarely))
    before = JoyvasaMotion.from_pretrained(path)
    cache = LatentCache(caches / "validation")
    sound = cache.audio(0)
    made = torch.cat(list(before.speak(sound, generator=torch.Generator().manual_seed(0))))
    true = from_keypoints(cache.motion(0))
    jaw = int(true[:, 7:].std(0).argmax()) + 7
    assert float(torch.corrcoef(torch.stack([made[:, jaw], true[:, jaw]]))[0, 1]) > 0.3
    again = joyvasa_run(caches, f"run_dir={caches}/further", f"init={path}", "joyvasa.train_speech=false")
    further = JoyvasaMotion.from_pretrained(train_motion(again))
    assert torch.equal(further.normalizer.offset, before.normalizer.offset)
    kept, moved = (
        {name: torch.equal(value, further.model.state_dict()[name]) for name, value in part.items()}
        for part in (
            {k: v for k, v in before.model.state_dict().items() if k.startswith("audio_encoder.")},
            {k: v for k, v in before.model.state_dict().items() if k.startswith("denoising_net.transformer")},
        )
    )
    assert all(kept.values()) and not any(moved.values())


def test_caches_it_cannot_learn_from_are_refused(caches, tmp_path):
    make_cache(tmp_path / "deaf", keep_audio=False)
    with pytest.raises(CacheError, match="keep_audio=true"):
        train_motion(joyvasa_run(caches, f"cache={tmp_path}/deaf"))
    with pytest.raises(ValueError, match="model='hubert'"):
        joyvasa_run(caches, "model=hubert")
    with pytest.raises(ValueError, match="goes with model=vasa"):
        joyvasa_run(caches, "teacher=x")


def narrow_face(folder):
    torch.manual_seed(0)
    networks = KeypointNetworks("human", 8).eval()
    with torch.no_grad():
        networks.motion.detector.fc_scale.weight.mul_(0.1)
        networks.motion.detector.fc_scale.bias.fill_(1.3)
    folder.mkdir(parents=True)
    networks.save(folder / "face.safetensors", {})
    return folder / "face.safetensors"


def test_frames_are_encoded_by_a_keypoint_space_and_two_models_learn_to_move_it(tmp_path):
    path = narrow_face(tmp_path / "checkpoints/liveportrait")
    clips = ["clips.num_clips=1", "clips.seconds=0.4", "clips_per_shard=1", "store=null", "device=cpu"]
    clips.append(f"face={tmp_path}/keypoints")
    encode_motion(load("encode_motion", ["experiment=joyvasa", f"output={tmp_path}/train", *clips]))
    (tmp_path / "validation").symlink_to(tmp_path / "train")
    cache = LatentCache(tmp_path / "train")
    assert cache.header.face_hash == encoders_hash(path) and cache.header.layout.width == 69
    assert cache.audio(0).shape == (cache.num_frames * SAMPLES_PER_FRAME,)
    heard = np.sin(np.arange(16000) / 9).astype(np.float32) * 0.1
    for model, kind in (("joyvasa", JoyvasaMotion), ("vasa", MotionGenerator)):
        trained = train_motion(joyvasa_run(tmp_path, f"model={model}", f"run_dir={tmp_path}/{model}"))
        assert isinstance(kind.from_pretrained(trained), kind)
        made = bundle(BundleRun(face=path, motion=trained, output=tmp_path / f"my_{model}", max_megabytes=50))
        assert json.loads((made / "bundle.json").read_text())["system"] == model
        face = TalkingFace.from_pretrained(made, "cpu", DetectorConfig(landmarks=None))
        picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
        frames = list(face.generate(picture, heard[:640], 16000, size=256, allow_centre_crop=True))
        assert len(frames) == 1 and frames[0].shape == (256, 256, 3)
    film = MotionFilm(path.parent, 0.04, 0, "cpu")
    film(JoyvasaMotion.from_pretrained(tmp_path / "joyvasa"), tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").stat().st_size > 0
    other = narrow_face(tmp_path / "other")
    weights = load_weights(other)
    changed = {name: value * (1 + name.startswith("motion.")) for name, value in weights.tensors.items()}
    save_weights(other, changed, weights.config, {})
    with pytest.raises(ValueError, match="learned from keypoints of"):
        bundle(BundleRun(face=other, motion=tmp_path / "joyvasa", output=tmp_path / "no", max_megabytes=50))
    assert not (tmp_path / "no").exists()


def test_keypoints_that_are_not_there_and_labels_that_they_lack_are_told(tmp_path):
    options = ["experiment=joyvasa", "store=null", f"face={tmp_path}/keypoints", f"output={tmp_path}/out"]
    run = load("encode_motion", options)
    with pytest.raises(FileNotFoundError, match="scripts/weights.py liveportrait action=bundle"):
        encode_motion(run)
    narrow_face(tmp_path / "checkpoints/joyvasa")
    with pytest.raises(ValueError, match="keypoints have none"):
        encode_motion(replace(run, label_heads=3))


def template(path, frames, seed=0):
    write_template(path, torch.randn(frames, 69, generator=torch.Generator().manual_seed(seed)) * 0.1)
    return read_template(path)


def test_templates_beside_their_sounds_become_a_cache_that_both_models_learn_from(tmp_path):
    for name, frames, seconds in (("a", 30, 2.0), ("b", 22, 0.8)):
        template(tmp_path / f"templates/{name}.pkl", frames)
        noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * 22050))
        soundfile.write(tmp_path / f"templates/{name}.wav", noise, 22050)
    options = ["experiment=joyvasa", "store=null", "face=null", f"templates={tmp_path}/templates"]
    for split in ("train", "validation"):
        encode_motion(load("encode_motion", [*options, f"output={tmp_path}/{split}"]))
    cache = LatentCache(tmp_path / "train")
    assert [clip.num_frames for clip in cache.clips] == [30, 20]
    assert cache.header.face_hash == PUBLISHED_KEYPOINTS
    found = read_template(tmp_path / "templates/a.pkl")
    torch.testing.assert_close(from_keypoints(cache.motion(0))[:, 7:], found.expression.flatten(1))
    train_motion(joyvasa_run(tmp_path))
    vasa = train_motion(joyvasa_run(tmp_path, "model=vasa", f"run_dir={tmp_path}/vasa"))
    assert set(MotionGenerator.from_pretrained(vasa).unlearned) >= {"gaze", "distance", "emotion"}
    template(tmp_path / "templates/b.pkl", 22, seed=1)
    with pytest.raises(CacheError, match="was written with other settings"):
        encode_motion(load("encode_motion", [*options, f"output={tmp_path}/train"]))
    (tmp_path / "templates/b.wav").unlink()
    with pytest.raises(FileNotFoundError, match="b.pkl the first"):
        encode_motion(load("encode_motion", [*options, f"output={tmp_path}/third"]))
    with pytest.raises(ValueError, match="store=null and label_heads=0"):
        load("encode_motion", [*options, "store=x", f"output={tmp_path}/third"])


def test_joyvasa_s_own_lists_are_read(tmp_path):
    template(tmp_path / "one.pkl", 25)
    held = pickle.loads((tmp_path / "one.pkl").read_bytes())
    (tmp_path / "motions.pkl").write_bytes(pickle.dumps({"one.wav": held}, 4))
    soundfile.write(tmp_path / "one.wav", np.zeros(16000), 16000)
    row = {"video_name": "one.mp4", "audio_name": "one.wav", "motion_name": "motions.pkl"}
    (tmp_path / "train.json").write_text(json.dumps([row]))
    options = ["experiment=joyvasa", "store=null", "face=null", f"templates={tmp_path}/train.json"]
    encode_motion(load("encode_motion", [*options, f"output={tmp_path}/cache"]))
    assert LatentCache(tmp_path / "cache").clips[0].num_frames == 25
    for rows, words in (([row, row], "twice"), ([{"audio_name": "x"}], "motion_name"), ([], "holds none")):
        (tmp_path / "train.json").write_text(json.dumps(rows))
        with pytest.raises(ValueError, match=words):
            encode_motion(load("encode_motion", [*options, f"output={tmp_path}/other"]))
    (tmp_path / "train.json").write_text(json.dumps([{**row, "audio_name": "two.wav"}]))
    soundfile.write(tmp_path / "two.wav", np.zeros(16000), 16000)
    with pytest.raises(ValueError, match="has no motion of 'two.wav'"):
        encode_motion(load("encode_motion", [*options, f"output={tmp_path}/other"]))


@pytest.mark.parametrize("name", ["d1", "talking"])
def test_real_templates_are_learned_from(name, root, tmp_path):
    source = root.parent / f"shared/media/motion/{name}.pkl"
    if not source.is_file():
        pytest.skip("no ../shared")
    target = tmp_path / "templates" / source.name
    target.parent.mkdir()
    target.write_bytes(source.read_bytes())
    frames = len(read_template(source))
    soundfile.write(target.with_suffix(".wav"), np.zeros(frames * SAMPLES_PER_FRAME + 100), 16000)
    options = ["experiment=joyvasa", "store=null", "face=null", f"templates={target.parent}"]
    encode_motion(load("encode_motion", [*options, f"output={tmp_path}/train"]))
    cache = LatentCache(tmp_path / "train")
    assert cache.num_frames == frames
    scale = cache.motion(0)[:, 5].exp()
    assert float(scale.min()) > 1 and float(scale.max()) < 2
    path = train_motion(joyvasa_run(tmp_path, "validation_cache=null"))
    assert Path(path).is_file()


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
def test_the_speech_encoder_starts_from_published_weights(kind, caches):
    from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

    network, config = {"hubert": (HubertModel, HubertConfig), "wav2vec2": (Wav2Vec2Model, Wav2Vec2Config)}[
        kind
    ]
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 48}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    published = network(config(**sizes, **positions, conv_dim=(16,) * 7))
    published.save_pretrained(caches / "speech")
    given = [f"joyvasa.speech_weights={caches}/speech", "joyvasa.train_speech=false", "loop.steps=2"]
    model = JoyvasaMotion.from_pretrained(train_motion(joyvasa_run(caches, *given))).model
    found = model.audio_encoder.state_dict()
    assert found.keys() == published.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in published.state_dict().items())
    wider = [*given, "joyvasa.network.hubert.feedforward=40", f"run_dir={caches}/other"]
    with pytest.raises(CheckpointError, match="feed_forward"):
        train_motion(joyvasa_run(caches, *wider))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train_motion(joyvasa_run(caches, "joyvasa.speech_weights=nowhere", f"run_dir={caches}/third"))
