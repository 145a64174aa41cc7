"""What the bundled checkpoint does where hardly anybody speaks: silence, a tenth of a second, a pause before
the first word, singing. Motion alone: frames are made blank.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa.data.config import SpokenConfig
from vasa.data.synthetic.speech import synthesise, voice_from_seed
from vasa.inference.asked import asked_of
from vasa.inference.config import InferRun
from vasa.inference.control_edits import edits_for
from vasa.inference.demo import demo_portrait, demo_speech
from vasa.inference.pipeline import TalkingFace
from vasa.metrics.blinks import blinks_per_min
from vasa.metrics.correlation import pearson
from vasa.pretrained.expression import blink
from vasa.records import CONTROL_INDEX

JAW = CONTROL_INDEX["jaw"]


@pytest.fixture(scope="module")
def speaker(request):
    face = TalkingFace.from_pretrained(request.config.rootpath / "checkpoints" / "demo", "cpu")
    photo, known = demo_portrait(0, 128)
    portrait = face.prepare(photo, 128, known=known)
    face.face.render = lambda appearance, motion: torch.zeros(len(motion), 3, 8, 8)
    return face, portrait


def performed(speaker, sound, **options):
    """Controls (T, 11) and turns from the portrait in degrees (T, 3) of a performance."""
    (face, portrait), run, seen = speaker, InferRun(**options), []
    asked = asked_of(run)
    edits = [*edits_for(run, asked, face.face, portrait), lambda motion, first: seen.append(motion) or motion]
    made = face.generate(portrait, sound, 16_000, asked=asked.conditions(), seed=run.seed, edits=edits)
    assert sum(1 for _ in made) == made.num_frames
    motion = torch.cat(seen)
    turns = torch.rad2deg((motion - portrait.motion)[:, face.face.layout.rotation])
    return face.face.controls(motion), turns


@pytest.mark.full
@pytest.mark.parametrize("seed", range(4))
def test_a_minute_of_silence_is_calm_lips_closed_and_blinks(speaker, seed):
    controls, turns = performed(speaker, np.zeros(60 * 16_000, np.float32), seed=seed)
    assert 8 <= blinks_per_min(blink(controls)) <= 27  # 10 to 25, but for the chance of one minute
    assert float(controls[:, JAW].max()) < 0.08
    assert float(controls[:, CONTROL_INDEX["lip_press"]].max()) < 0.1
    bearing = torch.nn.functional.avg_pool1d(turns.T[None], 101, 1)[0].T
    assert float(bearing.abs().max()) < 16  # 12 and a lag: the portrait's own, within what photographs bear
    steps = torch.nn.functional.avg_pool1d(turns.T[None], 5, 1)[0].T.diff(dim=0).abs() * 25
    assert float(steps.mean()) < 6  # degrees a second


@pytest.mark.full
def test_a_rate_of_blinks_is_kept_to_on_the_bundled_checkpoint(speaker):
    for rate in (0.0, 6.0, 20.0):
        controls, _ = performed(speaker, demo_speech(3, 60.0), blink_rate=rate)
        assert blinks_per_min(blink(controls)) == pytest.approx(rate, abs=2)


def test_a_tenth_of_a_second_and_less_are_videos_too(speaker):
    for samples in (1, 640, 1600):
        controls, _ = performed(speaker, 0.1 * np.sin(np.arange(samples) / 9).astype(np.float32))
        assert len(controls) == max(1, -(-samples // 640)) and bool(controls.isfinite().all())


@pytest.mark.full
def test_a_mouth_waits_for_the_first_word(speaker):
    sound = np.concatenate([np.zeros(5 * 16_000, np.float32), demo_speech(2, 5.0)])
    jaw = performed(speaker, sound)[0][:, JAW]
    assert float(jaw[5:110].max()) < 0.1 < float(jaw[130:].std())


@pytest.mark.full
def test_a_mouth_follows_song(speaker):
    sung = SpokenConfig(espeak_share=0.0, singing_share=1.0, silent_share=0.0)
    found = []
    for seed in range(4):
        speech = synthesise(seed, 8.0, voice_from_seed(2_000_000 + seed, "test", sung))
        jaw = performed(speaker, speech.audio)[0][:, JAW]
        found.append(float(pearson(jaw, torch.from_numpy(speech.visemes[:, 0]).float())))
    assert np.mean(found) > 0.7, found
