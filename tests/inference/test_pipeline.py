"""The pipeline: exact lengths, one seed, constant memory, batches and chunks that do not show, the portrait's
own pose kept.
"""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from vasa.audio import fit_length, resample
from vasa.inference.asked import asked_of
from vasa.inference.config import InferRun
from vasa.inference.controls import emotion_weights
from vasa.inference.features import FEATURE_CHUNK_S, feature_chunks
from vasa.inference.retarget import Retargeter
from vasa.pretrained.config import SpeechConfig
from vasa.pretrained.speech import build_speech_encoder
from vasa.records import EMOTIONS


def sound(seconds, rate_hz=16_000, level=0.5):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * 220 * t) * (np.sin(2 * np.pi * 1.5 * t) > 0)).astype(np.float32)


def yaw_bars(frames):
    """What the stand-in drew: yaw of each frame, back from its pixels."""
    return np.array([frame[:8, :, 0].mean() / 127.5 - 1 for frame in frames])


def jaw_bars(frames):
    return np.array([frame[:8, :, 1].mean() / 255 for frame in frames])


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 8_000])
@pytest.mark.parametrize("samples_s", [1e-3, 0.06, 1.0, 2.02, 2.019])
def test_number_of_frames_is_the_rounded_length(talking_face, picture, rate_hz, samples_s):
    waveform = sound(samples_s, rate_hz)
    generation = talking_face.generate(picture, waveform, rate_hz)
    wanted = max(1, math.floor(25 * len(waveform) / rate_hz + 0.5))
    frames = list(generation)
    assert len(frames) == generation.num_frames == wanted
    assert all(frame.dtype == np.uint8 and frame.shape == (40, 40, 3) for frame in frames)


def test_the_same_seed_gives_the_same_frames_and_another_gives_others(talking_face, picture):
    first, again, other = (
        np.stack(list(talking_face.generate(picture, sound(2), 16_000, seed=seed))) for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (yaw_bars(first) != yaw_bars(other)).any()


def test_batches_do_not_show(talking_face, picture):
    one, eight = (
        np.stack(list(talking_face.generate(picture, sound(3), 16_000, batch_frames=n))) for n in (1, 8)
    )
    assert (one == eight).all()
    assert talking_face.face.largest_batch == 8


def test_frames_are_made_only_as_they_are_asked_for(talking_face, picture):
    generation = talking_face.generate(picture, sound(300), 16_000)
    frames = iter(generation)
    for _ in range(3):
        next(frames)
    assert len(talking_face.speech.calls) == 1  # one chunk of the sound, not all of it


def test_memory_does_not_grow_with_the_sound(talking_face, picture):
    def peak(seconds):
        waveform = sound(seconds)
        tracemalloc.start()
        for _ in talking_face.generate(picture, waveform, 16_000):
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(2)
    # Above one chunk the peak is the chunk's. What torch holds is bounded by the batch (see above).
    assert peak(8 * FEATURE_CHUNK_S) < 1.2 * peak(2 * FEATURE_CHUNK_S)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 22_050])
@pytest.mark.parametrize("kind", ["loudness", "logmel"])
def test_features_in_chunks_equal_features_at_once(talking_face, rate_hz, kind):
    encoder = talking_face.speech if kind == "loudness" else build_speech_encoder(SpeechConfig())
    waveform = sound(2.3 * FEATURE_CHUNK_S, rate_hz)
    num_frames = round(2.3 * FEATURE_CHUNK_S * 25)
    chunks = list(feature_chunks(encoder, waveform, rate_hz, num_frames))
    whole = encoder.features(fit_length(resample(waveform, rate_hz, 16_000), num_frames * 640), num_frames)
    assert len(chunks) == 3
    torch.testing.assert_close(torch.cat(chunks), whole, atol=2e-3, rtol=0)  # filters and sums in float32


def test_jaw_opens_when_the_sound_is_there_not_earlier_nor_later(talking_face, picture):
    waveform = np.zeros(32_000, np.float32)
    waveform[16_000:17_280] = 0.8  # frames 25 and 26
    jaw = jaw_bars(talking_face.generate(picture, waveform, 16_000))
    assert np.flatnonzero(jaw > 0.5).tolist() == [25, 26]


def test_relative_pose_keeps_the_portraits_own(talking_face, picture):
    talking_face.face.rest[0, 0] = -0.2
    relative = yaw_bars(talking_face.generate(picture, sound(1.6), 16_000))
    absolute = yaw_bars(talking_face.generate(picture, sound(1.6), 16_000, pose="absolute"))
    assert relative.mean() == pytest.approx(-0.2, abs=0.01)  # pixels hold 8 bits
    assert absolute.mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_allclose(relative - relative.mean(), absolute - absolute.mean(), atol=0.01)


@pytest.mark.parametrize("distance", [1.0, 1.25])
def test_distance_one_is_the_portraits_framing_whatever_the_motion_models_mean(talking_face, distance):
    face = talking_face.face
    portrait = torch.zeros(1, face.layout.width)
    portrait[:, 5] = 0.1
    motion = torch.zeros(10, face.layout.width)
    motion[:, 5] = -0.07 - math.log(distance)  # a model whose heads are a little far
    moved = Retargeter(face, portrait, distance=distance)(motion)
    torch.testing.assert_close(moved[:, 5].exp(), torch.full((10,), math.exp(0.1) / distance))


def test_chunks_of_motion_do_not_show_after_the_first(talking_face):
    face = talking_face.face
    motion = torch.randn(30, face.layout.width)
    portrait = torch.randn(1, face.layout.width)
    whole = Retargeter(face, portrait, "relative")
    parts = Retargeter(face, portrait, "relative")
    first = whole(motion[:10])
    torch.testing.assert_close(
        torch.cat([first, whole(motion[10:])]),
        torch.cat([parts(motion[:10]), *map(parts, motion[10:].split(5))]),
    )


def test_conditions_guidance_and_steps_reach_the_motion_model(talking_face, picture):
    mixture = {"happy": 0.5, "surprise": 0.25}
    list(
        talking_face.generate(
            picture,
            sound(0.2),
            16_000,
            gaze_yaw=0.1,
            gaze_pitch=-0.2,
            distance=1.25,
            emotion=mixture,
            steps=7,
            guidance={"audio": 0.125},
        )
    )
    seen = talking_face.motion.seen
    assert seen["conditions"].gaze[0].tolist() == pytest.approx([0.1, -0.2])
    assert seen["conditions"].distance.item() == 1.25
    assert seen["conditions"].emotion[0].tolist() == [0.25, 0.5, 0, 0.25, 0, 0, 0, 0]
    assert seen["steps"] == 7
    assert seen["guidance"] == {"audio": 0.125, "gaze": 1.0, "distance": 0.0, "emotion": 0.0}


@pytest.mark.parametrize(
    ("emotion", "neutral", "heard"),
    [("auto", True, True), ("auto", False, False), ("none", True, False), ("neutral", False, True)],
)
def test_without_an_emotion_the_model_hears_what_its_own_config_says(
    talking_face, picture, emotion, neutral, heard
):
    talking_face.motion.config.sampler.neutral = neutral
    list(talking_face.generate(picture, sound(0.2), 16_000, emotion=emotion))
    said = talking_face.motion.seen["conditions"].emotion
    assert (said is not None) == heard
    assert asked_of(InferRun(emotion=emotion)).conditions(neutral).emotion is None or heard


def test_an_emotion_is_a_name_a_mixture_or_a_dict():
    assert emotion_weights("neutral").tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert emotion_weights("happy").argmax() == EMOTIONS.index("happy")
    assert emotion_weights("happy:0.7+surprise:0.3").equal(emotion_weights({"happy": 0.7, "surprise": 0.3}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"emotion": "hapy"}, "emotion is 'hapy'; wanted one of neutral, happy"),
        ({"emotion": "happy:1.5"}, "weight 1.5; wanted 0 to 1"),
        ({"emotion": "happy:much"}, "wanted a number"),
        ({"emotion": {"happy": 0.8, "sad": 0.4}}, "sum to 1.2; wanted at most 1"),
        ({"gaze_yaw": 1.0}, r"gaze_yaw is 57\.\d+ degrees .* wanted -28 to 28 degrees"),
        ({"gaze_pitch": float("nan")}, "gaze_pitch is nan"),
        ({"distance": 0.0}, "distance is 0; wanted 0.7 to 1.4"),
        ({"pose": "sideways"}, "pose is 'sideways'; wanted one of relative, absolute"),
        ({"keep_expression": 2}, "keep_expression is 2; wanted 0 to 1"),
        ({"size": 33}, "size is 33; wanted an even number"),
        ({"size": 16}, "at least the face space's 32"),
    ],
)
def test_controls_out_of_range_are_refused_before_any_work(talking_face, picture, options, words):
    with pytest.raises(ValueError, match=words):
        talking_face.generate(picture, sound(0.1), 16_000, **options)


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        (np.zeros(0, np.float32), "wanted at least one sample"),
        (np.full(100, np.nan, np.float32), "NaN"),
        (np.zeros((100, 50), np.float32), "shape"),
    ],
)
def test_unusable_waveforms_are_refused(talking_face, picture, waveform, words):
    with pytest.raises(ValueError, match=words):
        talking_face.generate(picture, waveform, 16_000)


def test_a_prepared_portrait_serves_many_videos(talking_face, picture):
    portrait = talking_face.prepare(picture)
    again = np.stack(list(talking_face.generate(portrait, sound(1), 16_000)))
    assert (again == np.stack(list(talking_face.generate(picture, sound(1), 16_000)))).all()


@pytest.mark.parametrize(
    ("side", "size", "wanted"), [(20, 512, 32), (47, 512, 46), (900, 512, 512), (900, 64, 64)]
)
def test_the_video_has_the_faces_own_resolution_between_the_bounds(talking_face, side, size, wanted):
    picture = np.full((side, side, 3), 99, np.uint8)
    assert talking_face.generate(picture, sound(0.1), 16_000, size=size).size == wanted


def test_no_face_is_an_error_unless_the_middle_is_allowed(talking_face):
    black = Image.new("RGB", (64, 64))
    with pytest.raises(ValueError, match="no face"):
        talking_face.generate(black, sound(0.1), 16_000)
    assert len(list(talking_face.generate(black, sound(0.1), 16_000, allow_centre_crop=True))) == 3


def test_values_that_are_not_finite_never_become_frames(talking_face, picture):
    talking_face.face.rest[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        next(iter(talking_face.generate(picture, sound(0.5), 16_000)))
