"""JoyVASA's motion over sound of any length, ours and upstream's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from joyvasa_cases import A, L, P, T, seeded, sound, tiny_motion

from vasa.checkpoint import CheckpointError
from vasa.motion.joyvasa_speech import JoyvasaSpeech
from vasa.motion.joyvasa_template import EXPRESSION
from vasa.motion.joyvasa_upstream import plan, smoothed, upstream_motion
from vasa.motion.joyvasa_windows import JoyvasaMotion
from vasa.records import Conditions

FRAME = 640


def features(num_frames: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(num_frames, A, generator=seeded(seed))


def run(motion: JoyvasaMotion, given: object, seed: int = 0, **options: object) -> torch.Tensor:
    return torch.cat(list(motion.generate(given, generator=seeded(seed), **options)))


def test_one_frame_a_feature_in_chunks_of_a_window_and_the_same_again() -> None:
    motion, given = tiny_motion(), features(2 * L + 3)
    chunks = list(motion.generate(given, generator=seeded()))
    assert [tuple(chunk.shape) for chunk in chunks] == [(L, 70), (L, 70), (3, 70)]
    assert torch.equal(torch.cat(chunks), run(motion, given))
    assert not torch.equal(torch.cat(chunks), run(motion, given, seed=1))


def test_how_features_are_cut_does_not_matter() -> None:
    motion, given = tiny_motion(), features(2 * L + 3)
    assert torch.equal(run(motion, iter(given.split(7))), run(motion, given))


def test_windows_are_made_as_features_come() -> None:
    """Memory does not grow with the sound: nothing is read ahead of the window that is drawn."""
    read = []

    def endless() -> Iterator[torch.Tensor]:
        while True:
            read.append(L)
            yield features(L)

    made = tiny_motion().generate(endless(), generator=seeded())
    for windows in range(1, 4):
        next(made)
        assert len(read) == windows


def test_each_window_has_noise_of_its_own() -> None:
    """The same audio and past give another motion; upstream's windows share x_T."""
    motion = tiny_motion()
    with torch.no_grad():
        motion.model.denoising_net.feature_proj.weight[:, :] *= 5
    first, second = run(motion, features(L).repeat(2, 1)).split(L)
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_window_goes_on_from_the_last_frames_of_the_one_before() -> None:
    motion, given = tiny_motion(), features(2 * L)
    changed = given.clone()
    changed[L - P : L] += 1
    assert not torch.equal(run(motion, given)[L:], run(motion, changed)[L:])


def test_beyond_the_features_silence_is_heard_and_features_beyond_the_frames_are_ignored() -> None:
    motion, given = tiny_motion(), features(4)
    silent = torch.cat([given, motion.silence[4:]])
    torch.testing.assert_close(run(motion, given, num_frames=L), run(motion, silent))
    assert len(run(motion, given)) == 4 and len(run(motion, given, num_frames=2 * L + 1)) == 2 * L + 1
    assert len(run(motion, features(3 * L), num_frames=5)) == 5


def test_guidance_is_of_audio_alone_and_changes_the_motion() -> None:
    motion, given = tiny_motion(), features(L)
    own = motion.config.sampler.guidance.as_dict()
    assert torch.equal(run(motion, given), run(motion, given, guidance=own))
    assert not torch.equal(run(motion, given), run(motion, given, guidance={"audio": 0.0}))
    track = run(motion, given, guidance=lambda first, stop: own)
    assert torch.equal(track, run(motion, given))
    with pytest.raises(ValueError, match="gaze"):
        motion.generate(given, generator=seeded(), guidance={"gaze": 1.0})


def test_steps_are_obeyed_and_wrong_ones_refused_before_anything_is_made() -> None:
    motion, given = tiny_motion(), features(L)
    assert not torch.equal(run(motion, given), run(motion, given, steps=2))
    assert torch.equal(run(motion, given), run(motion, given, steps=T))
    with pytest.raises(ValueError, match=f"wanted 1 to {T}"):
        motion.generate(given, generator=seeded(), steps=T + 1)


def test_what_joyvasa_does_not_know_is_refused_and_saying_nothing_is_not() -> None:
    motion, given = tiny_motion(), features(L)
    nothing = Conditions(gaze=torch.zeros(1, 2), distance=torch.ones(1, 1))
    assert torch.equal(run(motion, given, conditions=nothing), run(motion, given))
    for asked in (Conditions(gaze=torch.tensor([[0.1, 0.0]])), Conditions(emotion=torch.eye(8)[:1])):
        with pytest.raises(ValueError, match="JoyVASA hears sound"):
            run(motion, given, conditions=asked)
        with pytest.raises(ValueError, match="JoyVASA hears sound"):
            run(motion, given, conditions=lambda first, stop, asked=asked: asked)


def test_features_of_another_width_or_not_finite_or_none_are_refused() -> None:
    motion = tiny_motion()
    with pytest.raises(ValueError, match="JoyvasaSpeech"):
        run(motion, torch.zeros(4, A + 1))
    with pytest.raises(ValueError, match="NaN"):
        run(motion, torch.full((4, A), torch.nan))
    with pytest.raises(ValueError, match="no audio features"):
        run(motion, features(0))
    with pytest.raises(ValueError, match="num_frames=0"):
        run(motion, features(4), num_frames=0)


def test_noise_may_be_asked_for_by_the_window() -> None:
    motion, asked = tiny_motion(), []

    def track(first: int, stop: int) -> torch.Generator:
        asked.append((first, stop))
        return seeded(first)

    made = torch.cat(list(motion.generate(features(L + 2), generator=track)))
    assert asked == [(0, L), (L, L + 2)]
    assert torch.equal(made[:L], run(motion, features(L + 2), seed=0)[:L])


@torch.no_grad()
def test_speech_hears_every_window_by_itself() -> None:
    motion, wave = tiny_motion(), sound(2 * L * FRAME + 3 * FRAME)
    speech = JoyvasaSpeech(motion.model)
    whole = speech.features(wave, 2 * L + 3, speech.reference([wave.numpy()]))
    assert whole.shape == (2 * L + 3, A) and whole.isfinite().all()
    second = motion.model.audio_features(wave[None, L * FRAME : 2 * L * FRAME], L)[0]
    assert torch.equal(whole[L : 2 * L], second)
    last = torch.nn.functional.pad(wave[2 * L * FRAME :], (0, (L - 3) * FRAME))
    assert torch.equal(whole[2 * L :], motion.model.audio_features(last[None], L)[0, :3])
    with pytest.raises(ValueError, match="mono"):
        speech.features(wave[None], 3)


def test_ours_has_as_many_frames_as_the_sound_rounded_and_no_delay() -> None:
    motion = tiny_motion()
    for samples, frames in ((1, 1), (FRAME * L, L), (FRAME * L + 319, L), (FRAME * L + 321, L + 1)):
        assert len(torch.cat(list(motion.speak(sound(samples), generator=seeded())))) == frames
    wave = sound(FRAME * L)
    heard = run(motion, motion.speech.features(wave, L))
    assert torch.equal(torch.cat(list(motion.speak(wave, generator=seeded()))), heard)


def test_upstream_hears_80_ms_of_silence_first_and_starts_all_windows_alike() -> None:
    motion, wave, asked = tiny_motion(), sound(FRAME * 2 * L), []
    x_T = torch.randn(L, 73, generator=seeded(1))

    def draw(window: int, t: int) -> torch.Tensor:
        asked.append((window, t))
        return torch.randn(L, 73, generator=seeded(t))

    made = list(upstream_motion(motion, wave, x_T, draw, smooth=False))
    planned = plan(len(wave), L)
    assert [len(chunk) for chunk in made] == [L, L, planned.num_frames - 2 * L]
    assert asked == [(window, t) for window in range(3) for t in range(T, 1, -1)]
    heard = [torch.cat([torch.zeros(1280), wave])[start : start + FRAME * L] for start in (0, FRAME * L)]
    past = motion.model.start(1)
    for window, got in zip(heard, made[:2], strict=True):
        audio = motion.speech.hear(window)[None]
        drawn, past = motion.draw_window(audio, past, x_T[None], lambda t: draw(0, t)[None], 2.8)
        torch.testing.assert_close(got, motion.normalizer.denormalise(drawn[0]))


def test_speak_names_its_two_ways() -> None:
    motion, wave = tiny_motion(), sound(FRAME * L)
    upstream = torch.cat(list(motion.speak(wave, generator=seeded(), compat="upstream")))
    assert len(upstream) == plan(len(wave), L).num_frames
    with pytest.raises(ValueError, match="'legacy'; wanted none or upstream"):
        motion.speak(wave, generator=seeded(), compat="legacy")


def test_the_average_holds_the_head_and_leaves_the_expression_across_chunks() -> None:
    raw = torch.randn(9, 70, generator=seeded())
    got = torch.cat(list(smoothed(raw.split(4), share=0.25)))
    assert torch.equal(got[:, EXPRESSION], raw[:, EXPRESSION]) and torch.equal(got[0], raw[0])
    torch.testing.assert_close(got[5, :7], 0.25 * raw[5, :7] + 0.75 * got[4, :7])


def test_saving_and_loading_keeps_the_motion(tmp_path: Path) -> None:
    motion, given = tiny_motion(position="fixed"), features(L)
    motion.save(tmp_path / "joyvasa.safetensors")
    again = JoyvasaMotion.from_pretrained(tmp_path / "joyvasa.safetensors")
    assert again.model.config == motion.model.config
    assert torch.equal(run(again, given), run(motion, given))


def test_another_model_is_refused(tmp_path: Path) -> None:
    from vasa.checkpoint import save_weights

    save_weights(tmp_path / "other.safetensors", {}, {}, {"model": "motion"})
    with pytest.raises(CheckpointError, match="wanted a joyvasa motion model"):
        JoyvasaMotion.from_pretrained(tmp_path / "other.safetensors")


def test_a_tensor_that_belongs_nowhere_is_refused(tmp_path: Path) -> None:
    from vasa.checkpoint import load_weights, save_weights

    path = tmp_path / "joyvasa.safetensors"
    tiny_motion().save(path)
    weights = load_weights(path)
    more = {**weights.tensors, "model.denoising_net.extra": torch.zeros(1)}
    save_weights(path, more, weights.config, weights.meta)
    with pytest.raises(CheckpointError, match="1 unexpected .denoising_net.extra"):
        JoyvasaMotion.from_pretrained(path)
