"""Live speech: the same numbers however sound is cut and as files make them; ends, interruptions, idling,
changes, lateness.
"""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from vasa.audio import frames_for
from vasa.data.config import ClipsConfig
from vasa.data.synthetic.clips import SyntheticClips
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun, InferRun, LivePlan
from vasa.inference.live_asked import EASE, LiveAsked
from vasa.inference.live_features import LiveFeatures, live_features
from vasa.inference.live_sound import LiveSound
from vasa.inference.performance import performance
from vasa.inference.pipeline import TalkingFace
from vasa.inference.rendering import FrameMaker
from vasa.inference.speed import Speed
from vasa.inference.stream import LiveTalk
from vasa.motion.config import SamplerConfig
from vasa.pretrained.config import DetectorConfig
from vasa.pretrained.speech import LogMelSpeech, SpeechConfig, TransformerSpeech
from vasa.records import AUDIO_HZ, CONTROL_INDEX, SAMPLES_PER_FRAME, Conditions

PLAN = LivePlan(hop=3, lookahead=2, right=1, left=12, window=8)


def speech(seconds, seed=0):
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0, 0.3, int(seconds * 10) + 1), AUDIO_HZ // 10)[: int(seconds * AUDIO_HZ)]
    return (rng.normal(0, 1, len(loud)) * loud).astype(np.float32)


def cuts(samples, seed, most=3000):
    rng, at, blocks = np.random.default_rng(seed), 0, []
    while at < len(samples):
        size = int(rng.integers(1, most))
        blocks.append(samples[at : at + size])
        at += size
    return blocks


@pytest.fixture(scope="module")
def face(tiny_runs, tmp_path_factory):
    folder = bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path_factory.mktemp("tiny")))
    return TalkingFace.from_pretrained(
        folder, "cpu", DetectorConfig(landmarks=None), speed=Speed(precision="fp32")
    )


@pytest.fixture(scope="module")
def portrait(face):
    picture = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return face.prepare(picture, 64, allow_centre_crop=True)


def talk_of(face, portrait, options=None, **more):
    return LiveTalk(
        face, portrait, options or InferRun(plan=PLAN), **{"patience_s": None, "pace": False, **more}
    )


def said(talk, blocks):
    for block in blocks:
        talk.push(block)
    talk.close()
    return list(talk)


@pytest.mark.parametrize("seed", range(6))
def test_features_do_not_depend_on_how_sound_is_cut(seed):
    encoder = LogMelSpeech(SpeechConfig())
    sound = speech(1.7 + seed / 10, seed)
    plan = replace(PLAN, hop=2 + seed % 3, right=seed % 4)
    live = LiveFeatures(encoder, plan)
    pieces = [piece for block in cuts(sound, seed, 10 ** (1 + seed % 4)) for piece in live.push(block)]
    found = torch.cat([*pieces, *live.finish()])
    wanted = live_features(encoder, sound, plan, len(found))
    assert torch.equal(found, wanted)
    assert len(found) == frames_for(len(sound), AUDIO_HZ)


def test_a_transformer_hears_live_speech_at_the_level_of_what_was_heard(tmp_path):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    Wav2Vec2Model(Wav2Vec2Config(**small, conv_dim=(8,) * 7)).save_pretrained(tmp_path)
    encoder = TransformerSpeech(SpeechConfig(kind="wav2vec2", path=str(tmp_path)))
    sound = speech(1.2)
    found = []
    for seed in (0, 1):
        live = LiveFeatures(encoder, PLAN)
        pieces = [piece for block in cuts(sound, seed) for piece in live.push(block)]
        found.append(torch.cat([*pieces, *live.finish()]))
    assert torch.equal(*found) and len(found[0]) == 30


def test_memory_does_not_grow_with_the_sound():
    live = LiveFeatures(LogMelSpeech(SpeechConfig()), PLAN)
    sizes = []
    for _ in range(30):
        live.push(speech(1.0))
        sizes.append(len(live._sound))
    assert max(sizes[15:]) == max(sizes[25:]) < 12 * AUDIO_HZ


def test_a_talk_is_what_a_file_made_by_the_same_plan_shows(face, portrait):
    options, sound = InferRun(plan=PLAN, gaze_yaw=5, seed=4), speech(1.5)
    made = performance(replace(options, live=True), face, portrait, (sound, AUDIO_HZ)).generation
    frames = list(made)
    for seed in (1, 2):
        moments = said(talk_of(face, portrait, options), cuts(sound, seed))
        assert [moment.number for moment in moments] == list(range(len(frames)))
        assert np.array_equal([moment.frame for moment in moments], frames)
        assert np.allclose(np.concatenate([moment.sound for moment in moments])[: len(sound)], sound)
        assert not any(moment.late for moment in moments)


def test_motion_is_the_same_to_1e_5_and_windows_hear_no_more_than_they_wait_for(face):
    sound = speech(2.0)
    features = live_features(face.speech, sound, PLAN, 50)
    asked = face.motion.defaults
    whole, *others = (
        torch.cat(list(face.speak_live(iter(given), asked, 0, None, None, PLAN)))
        for given in ([features], features.split(1), features.split(7))
    )
    assert all(torch.allclose(whole, other, rtol=0, atol=1e-5) for other in others)
    changed = features.clone()
    changed[PLAN.hop + PLAN.lookahead :] += 9  # what the first window has not heard
    first = next(face.speak_live(iter([changed]), asked, 0, None, None, PLAN))
    assert torch.equal(first, whole[: PLAN.hop])


def test_the_first_frames_come_before_the_sound_has_ended(face, portrait):
    talk = talk_of(face, portrait)
    talk.push(speech(PLAN.hop * 0.04 + (PLAN.lookahead + PLAN.right) * 0.04))
    moments = iter(talk)
    shown = [next(moments) for _ in range(PLAN.hop)]
    assert [moment.number for moment in shown] == [0, 1, 2]
    talk.close()
    assert len(list(moments)) == PLAN.lookahead + PLAN.right
    found = talk.statistics()
    assert found["frames"] == 6 and found["drops"] == 0 and found["first_frame_ms"] > 0
    assert {
        "wait_p50_ms",
        "features_p99_ms",
        "denoise_p50_ms",
        "decode_p50_ms",
        "total_p99_ms",
    } <= found.keys()


def test_without_sound_the_face_idles_and_what_was_pushed_is_forgotten_on_interruption(face, portrait):
    talk = talk_of(face, portrait, patience_s=0.02)
    moments = iter(talk)
    idle = [next(moments) for _ in range(12)]
    assert not any(moment.sound.any() for moment in idle)
    assert [moment.number for moment in idle] == list(range(12))
    talk.push(np.full(60 * SAMPLES_PER_FRAME, 0.25, np.float32))
    while not next(moments).sound.any():
        pass
    talk.interrupt()
    spoken = 1
    while (moment := next(moments)).sound.any():
        spoken += 1
    assert spoken < 40 and moment.number > 12
    talk.push(np.full(3 * SAMPLES_PER_FRAME, 0.5, np.float32))
    while not next(moments).sound.any():
        pass
    talk.stop()
    assert len(list(moments)) <= 1
    with pytest.raises(RuntimeError, match="closed"):
        talk.push(speech(0.1))
    with pytest.raises(RuntimeError, match="once"):
        next(iter(talk))


def test_a_talk_in_which_nothing_is_said_ends_without_a_frame(face, portrait):
    assert said(talk_of(face, portrait), []) == []


def test_controls_change_while_it_runs(face, portrait):
    still = [moment.frame for moment in said(talk_of(face, portrait), [speech(2.0)])]
    talk = talk_of(face, portrait)
    talk.push(speech(2.0))
    talk.close()
    frames = []
    for moment in talk:
        frames.append(moment.frame)
        if moment.number == 10:
            talk.set(head_yaw=20.0, distance=0.8)
    assert np.array_equal(frames[:11], still[:11])
    assert not np.array_equal(frames[-1], still[-1])
    with pytest.raises(ValueError, match="head_yaw is 99 degrees"):
        talk.set(head_yaw=99.0)
    with pytest.raises(ValueError, match="seed cannot be changed; wanted some of gaze_yaw"):
        talk.set(seed=3)
    with pytest.raises(ValueError, match="began with blink_rate=None"):
        talk.set(blink_rate=20)


def test_what_is_asked_eases_over_from_the_next_frames_on():
    asked = LiveAsked(InferRun(gaze_yaw=10, distance=1, head_yaw=0))
    assert asked.at("distance", 0, 1).dtype == asked.at("head_yaw", 0, 1).dtype == torch.float32
    before = asked.at("gaze_yaw", 0, 5)
    asked.set(gaze_yaw=-10, emotion="happy")
    course = asked.at("gaze_yaw", 5, 5 + 2 * EASE)
    assert torch.allclose(before, torch.full((5,), np.radians(10.0)).float())
    assert torch.allclose(course[EASE:], torch.full((EASE,), -np.radians(10.0)).float())
    assert bool((course[:EASE].diff() < 0).all())
    assert asked.at("emotion", 30, 31).shape == (1, 8)
    assert len(asked._parts) == 1
    with pytest.raises(ValueError, match="takes changes as they come"):
        LiveAsked(InferRun(controls="x.csv"))


def test_frames_that_are_late_are_dropped_and_the_rest_stays_in_time(face, portrait, monkeypatch):
    talk = talk_of(face, portrait, pace=True)
    decode = FrameMaker.__call__

    def slow(maker, motion):
        time.sleep(0.09 * len(motion))
        return decode(maker, motion)

    monkeypatch.setattr(FrameMaker, "__call__", slow)
    begun = time.perf_counter()
    moments = said(talk, [speech(3.0)])
    taken = time.perf_counter() - begun
    late = [moment for moment in moments if moment.late]
    assert len(moments) == 75 and 10 < len(late) < 65
    assert talk.statistics()["drops"] == len(late)
    assert taken < 5.5  # 75 frames at 90 ms would be 6.8 s
    shown = {moment.number: moment.frame for moment in moments}
    assert all(np.array_equal(moment.frame, shown[moment.number - 1]) for moment in late)


def test_a_pace_holds_frames_back(face, portrait):
    begun = time.perf_counter()
    said(talk_of(face, portrait, pace=True), [speech(1.0)])
    assert time.perf_counter() - begun > 0.75


def test_what_goes_wrong_in_the_motion_s_thread_is_raised_where_it_is_shown(face, portrait, monkeypatch):
    talk = talk_of(face, portrait)
    monkeypatch.setattr(talk, "_edits", [lambda motion, first: motion / 0])
    with pytest.raises(FloatingPointError, match="not finite"):
        said(talk, [speech(1.0)])
    assert not any("live talk" in thread.name for thread in threading.enumerate())


def test_sound_waits_in_bounds_and_is_checked():
    sound = LiveSound()
    with pytest.raises(ValueError, match="wanted finite floats"):
        sound.push(np.array([np.nan], np.float32))
    with pytest.raises(ValueError, match="int64"):
        sound.push(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="patience_s is 0"):
        LiveSound(0)
    sound.push(np.zeros(61 * AUDIO_HZ, np.float32))
    waits = threading.Thread(target=sound.push, args=(np.ones(10, np.float32),), daemon=True)
    waits.start()
    waits.join(0.1)
    assert waits.is_alive()
    assert len(sound.take(100).samples) == 100 * SAMPLES_PER_FRAME
    waits.join(5)
    assert not waits.is_alive()
    sound.close()
    last = [sound.take(10_000), sound.take(1)]
    assert last[0].samples[-1] == 1 and last[1] is None


def test_plans_and_models_that_cannot_are_refused(face, portrait):
    with pytest.raises(ValueError, match="exceed window=5"):
        LivePlan(hop=4, lookahead=2, window=5)
    with pytest.raises(ValueError, match="at least 2 and 2"):
        LivePlan(hop=1)
    with pytest.raises(ValueError, match="unheard_frames=3"):
        SamplerConfig(lookahead_frames=2, unheard_frames=3)
    with pytest.raises(ValueError, match="this model was built for"):
        said(talk_of(face, portrait, InferRun(plan=LivePlan(window=99))), [speech(0.5)])


@pytest.mark.full
def test_lips_of_live_speech_follow_it_nearly_as_well_as_a_file_s(root):
    """The bundled student on speakers it never heard: within 0.03 of a file's correlation with the truth."""
    face = TalkingFace.from_pretrained(root / "checkpoints/demo", "cpu", fast=True)
    clips = SyntheticClips("test", ClipsConfig(num_clips=10))
    lips = [CONTROL_INDEX[name] for name in ("jaw", "lip_width", "lip_pucker", "lip_press")]
    found: dict[str, list[list[float]]] = {"file": [], "live": []}
    for index in range(10):
        clip = clips.animation_only(index)
        true = clip.truth.animation.controls[:, lips]
        if float(true[:, 0].std()) < 0.05:
            continue
        wanted = Conditions(clip.gaze[None], clip.distance.reshape(1, 1), clip.emotion[None])
        for name, plan in (("file", None), ("live", LivePlan())):
            motion = torch.cat(list(face.speak(clip.audio, AUDIO_HZ, wanted, plan=plan)))
            made = face.face.controls(motion)[:, lips]
            pairs = zip(made.T, true[: len(made)].T, strict=True)
            found[name].append([float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs])
    file, live = (np.nanmean(found[name], 0) for name in ("file", "live"))
    assert (live > file - 0.03).all(), (file, live)
    assert live[0] > 0.9
