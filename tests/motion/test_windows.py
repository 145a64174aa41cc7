"""Long audio in windows: exact lengths, the same however it arrives, seeded, carried over, refused when it
does not fit.
"""

import itertools

import pytest
import torch
from motion_cases import A, E, K, W
from torch import Tensor

from vasa.checkpoint import CheckpointError, save_weights
from vasa.motion.config import MotionConfig, SamplerConfig, TransformerConfig
from vasa.motion.diffusion import MotionDiffusion
from vasa.motion.windows import MotionGenerator, save_motion
from vasa.records import Conditions, MotionLayout

CONTROLS = Conditions(
    gaze=torch.tensor([[0.2, -0.1]]), distance=torch.tensor([[1.1]]), emotion=torch.eye(8)[[1]]
)


def make_model() -> MotionDiffusion:
    torch.manual_seed(0)
    config = MotionConfig(
        window_frames=W,
        history_frames=K,
        transformer=TransformerConfig(
            width=32, num_layers=2, num_heads=2, feedforward=64, audio_as_tokens=False
        ),
        sampler=SamplerConfig(steps=3),
    )
    model = MotionDiffusion(config, MotionLayout.volumetric(E - 6), A)
    torch.nn.init.normal_(model.transformer.motion_out.weight, std=0.2)
    statistics = {"motion_mean": torch.arange(E).float(), "motion_std": torch.full((E,), 2.0)}
    statistics |= {"features_mean": torch.zeros(A), "features_std": torch.ones(A)}
    statistics |= {"distance_mean": torch.ones(1), "distance_std": torch.full((1,), 0.2)}
    model.normalizer.set_statistics(statistics)
    return model


@pytest.fixture(scope="module")
def generator() -> MotionGenerator:
    return MotionGenerator(make_model(), {"kind": "logmel"}, "some face")


def features(length: int) -> Tensor:
    return torch.randn(length, A, generator=torch.Generator().manual_seed(7))


def run(generator: MotionGenerator, source, seed: int = 0, **options) -> Tensor:
    return torch.cat(
        list(generator.generate(source, CONTROLS, generator=torch.Generator().manual_seed(seed), **options))
    )


@pytest.mark.parametrize("length", [1, W - 1, W, W + 1, 3 * W + 7])
def test_as_many_frames_come_out_as_go_in(generator: MotionGenerator, length: int) -> None:
    got = run(generator, features(length))
    assert got.shape == (length, E)
    assert bool(got.isfinite().all())


@pytest.mark.parametrize("num_frames", [1, 7, W, 2 * W + 3])
def test_the_number_of_frames_can_be_asked_for(generator: MotionGenerator, num_frames: int) -> None:
    """More than there is sound for (12 frames) or less."""
    assert run(generator, features(12), num_frames=num_frames).shape == (num_frames, E)


@pytest.mark.parametrize("sizes", [[1], [3], [W], [2 * W + 1], [5, 0, 1, 9]])
def test_how_features_are_cut_changes_nothing(generator: MotionGenerator, sizes: list[int]) -> None:
    whole = features(3 * W + 7)

    def pieces():
        start = 0
        for size in itertools.cycle(sizes):
            if start >= len(whole):
                return
            yield whole[start : start + size]
            start += size

    assert torch.equal(run(generator, pieces()), run(generator, whole))


def test_motion_comes_out_before_the_sound_has_ended(generator: MotionGenerator) -> None:
    def endless():
        while True:
            yield features(4)

    first = next(generator.generate(endless(), CONTROLS, generator=torch.Generator()))
    assert first.shape == (W, E)


def test_a_seed_is_one_motion_and_another_is_another(generator: MotionGenerator) -> None:
    sound = features(2 * W)
    assert torch.equal(run(generator, sound, seed=3), run(generator, sound, seed=3))
    assert not torch.allclose(run(generator, sound, seed=3), run(generator, sound, seed=4))


def test_the_past_is_not_changed_by_later_sound_but_the_next_window_hears_the_last(
    generator: MotionGenerator,
) -> None:
    sound = features(3 * W)
    later = sound.clone()
    later[W - 2] += 1  # in the carried frames of the first window
    a, b = run(generator, sound), run(generator, later)
    assert not torch.equal(a[W:], b[W:])
    later = sound.clone()
    later[2 * W :] += 1
    assert torch.equal(a[: 2 * W], run(generator, later)[: 2 * W])


def test_the_last_window_knows_where_the_sound_ends(generator: MotionGenerator) -> None:
    """Frames after the end are the null condition, not zeros that might be mistaken for sound."""
    sound = features(W - 3)
    silence = torch.cat([sound, torch.zeros(3, A)])
    assert not torch.allclose(run(generator, sound), run(generator, silence)[: W - 3])


@pytest.mark.parametrize("length", [1, 5, 6, 7, 3 * W + 7])
@pytest.mark.parametrize("sizes", [[1], [6], [100]])
def test_short_windows_with_lookahead_make_every_frame_once(
    generator: MotionGenerator, length: int, sizes: list[int]
) -> None:
    options = {"window_frames": 6, "lookahead_frames": 2}
    sound = features(length)
    whole = run(generator, sound, **options)
    assert whole.shape == (length, E)
    pieces = iter(sound.split(sizes[0]))
    assert torch.equal(run(generator, pieces, **options), whole)
    chunks = list(
        generator.generate(sound, CONTROLS, generator=torch.Generator(), num_frames=length, **options)
    )
    assert all(len(chunk) == 4 for chunk in chunks[:-1])


def test_frames_hear_the_lookahead_and_no_more(generator: MotionGenerator) -> None:
    """What is given out of a window depends on its own sound and on the frames drawn after it alone."""
    options = {"window_frames": 6, "lookahead_frames": 2}
    sound = features(2 * W)
    first = run(generator, sound, **options)
    for changed, same in ((5, 0), (6, 4)):
        other = sound.clone()
        other[changed] += 1
        got = run(generator, other, **options)
        assert torch.equal(got[:same], first[:same])
        assert not torch.equal(got[same : same + 4], first[same : same + 4])


def test_windows_that_cannot_be_drawn_are_refused(generator: MotionGenerator) -> None:
    with pytest.raises(ValueError, match="wanted 2 to 10"):
        run(generator, features(W), window_frames=W + 1)
    with pytest.raises(ValueError, match="lookahead_frames=5"):
        run(generator, features(W), window_frames=6, lookahead_frames=5)


def test_a_condition_that_was_never_learned_is_never_shown() -> None:
    """Its input layer is as it was drawn: what it says means nothing."""
    model = make_model()
    model.config.dropout.gaze = model.config.dropout.history = 1.0
    ignorant = MotionGenerator(model, {"kind": "logmel"}, "some face")
    sound = features(2 * W)

    def drawn(conditions: Conditions) -> Tensor:
        made = ignorant.generate(sound, conditions, generator=torch.Generator().manual_seed(0))
        return torch.cat(list(made))

    straight, aside = (Conditions(gaze=torch.tensor([[g, 0.0]])) for g in (0.0, 0.3))
    assert torch.equal(drawn(straight), drawn(aside))
    far = Conditions(gaze=straight.gaze, distance=torch.tensor([[1.3]]))
    assert not torch.equal(drawn(straight), drawn(far))


def test_unknown_guidance_is_refused(generator: MotionGenerator) -> None:
    with pytest.raises(ValueError, match="pose"):
        run(generator, features(W), guidance={"pose": 1.0})


def test_controls_may_change_from_window_to_window(generator: MotionGenerator) -> None:
    asked: list[tuple[int, int]] = []

    def track(first: int, stop: int) -> Conditions:
        asked.append((first, stop))
        return Conditions(gaze=torch.full((1, 2), 0.3 if first >= W else 0.0))

    def drawn(controls) -> Tensor:
        source = generator.generate(features(2 * W), controls, generator=torch.Generator().manual_seed(0))
        return torch.cat(list(source))

    changing = drawn(track)
    assert asked == [(0, W), (W, 2 * W)]
    constant = drawn(Conditions(gaze=torch.zeros(1, 2)))
    assert torch.equal(changing[:W], constant[:W]) and not torch.equal(changing[W:], constant[W:])


def test_guidance_may_change_from_window_to_window(generator: MotionGenerator) -> None:
    asked: list[tuple[int, int]] = []

    def track(first: int, stop: int) -> dict[str, float]:
        asked.append((first, stop))
        return {"audio": 2.0 if first >= W else 0.5}

    sound = features(2 * W + 3)
    changing = run(generator, sound, guidance=track)
    assert asked == [(0, W), (W, 2 * W), (2 * W, 2 * W + 3)]
    weak, strong = (run(generator, sound, guidance={"audio": value}) for value in (0.5, 2.0))
    assert torch.equal(changing[:W], weak[:W]) and not torch.equal(changing[W : 2 * W], weak[W : 2 * W])
    assert torch.equal(run(generator, sound, guidance=lambda *_: {"audio": 2.0}), strong)
    with pytest.raises(ValueError, match="pose"):
        run(generator, sound, guidance=lambda *_: {"pose": 1.0})


@pytest.mark.parametrize(
    "options", [{}, {"window_frames": 6, "lookahead_frames": 2}, {"sampler": "sde-dpm++"}]
)
def test_noise_may_come_from_another_generator_from_a_window_on(
    generator: MotionGenerator, options: dict[str, int]
) -> None:
    """Frames before that window are the same to the bit, and one generator for all windows is one seed."""
    sound, hop = features(3 * W), options.get("window_frames", W) - options.get("lookahead_frames", 0)

    def drawn(later: int, change: int = 2 * hop) -> Tensor:
        generators = {seed: torch.Generator().manual_seed(seed) for seed in (3, later)}
        noise = lambda first, stop: generators[3 if stop <= change else later]  # noqa: E731
        made = generator.generate(sound, CONTROLS, generator=noise, **options)
        return torch.cat(list(made))

    one, same, other = run(generator, sound, seed=3, **options), drawn(3), drawn(4)
    assert torch.equal(one, same)
    assert torch.equal(one[: 2 * hop], other[: 2 * hop])
    assert not torch.allclose(one[2 * hop : 3 * hop], other[2 * hop : 3 * hop])


def test_frames_drawn_again_keep_their_noise_when_the_seed_changes() -> None:
    """A window starts from the noise that the one before had beyond the frames that it gave out."""
    model, seen = make_model(), []
    draw = model.sample
    model.sample = lambda noise, *rest, **more: seen.append(noise) or draw(noise, *rest, **more)
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    made = MotionGenerator(model, {}, "f").generate(
        features(12),
        CONTROLS,
        generator=lambda first, stop: seeds[first > 0],
        window_frames=6,
        lookahead_frames=2,
    )
    list(made)
    fresh = torch.randn(4, E, generator=torch.Generator().manual_seed(2))
    assert torch.equal(seen[1][0], torch.cat([seen[0][0, 4:], fresh]))


def test_many_clips_at_once_equal_one_by_one(generator: MotionGenerator) -> None:
    sounds = torch.stack([features(2 * W + 3), features(2 * W + 3).flip(0)])
    seeds = [torch.Generator().manual_seed(s) for s in (1, 2)]
    together = generator.generate_many(sounds, CONTROLS, generators=seeds)
    for row, seed in ((0, 1), (1, 2)):
        # another batch size means another order of float32 sums, and two windows of three steps amplify it
        torch.testing.assert_close(
            together[row], run(generator, sounds[row], seed=seed), rtol=1e-3, atol=1e-3
        )


def test_options_override_the_checkpoints(generator: MotionGenerator) -> None:
    sound = features(W)
    default = run(generator, sound)
    assert torch.equal(
        default, run(generator, sound, steps=3, guidance={"audio": 0.5, "gaze": 1.0}, sampler="dpm++")
    )
    for options in ({"steps": 5}, {"guidance": {}}, {"sampler": "ddim"}):
        assert not torch.allclose(default, run(generator, sound, **options)), options


def test_controls_matter_and_none_is_the_null_condition(generator: MotionGenerator) -> None:
    def under(conditions: Conditions | None) -> Tensor:
        source = generator.generate(features(W), conditions, generator=torch.Generator().manual_seed(0))
        return torch.cat(list(source))

    given, null, default = under(CONTROLS), under(Conditions()), under(None)
    assert not torch.allclose(given, null) and not torch.allclose(null, default)
    assert torch.equal(default, under(generator.defaults))


def test_saved_and_loaded_is_the_same_generator(generator: MotionGenerator, tmp_path) -> None:
    model = make_model()
    path = tmp_path / "motion.safetensors"
    save_motion(path, model, model.state_dict(), {"kind": "logmel"}, "some face", {"steps": 1})
    loaded = MotionGenerator.from_pretrained(tmp_path)
    assert (loaded.face_hash, loaded.audio, loaded.layout) == (
        "some face",
        {"kind": "logmel"},
        generator.layout,
    )
    assert loaded.config == generator.config
    assert torch.equal(run(loaded, features(W + 2)), run(generator, features(W + 2)))


def test_another_models_file_and_missing_tensors_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="motion.safetensors"):
        MotionGenerator.from_pretrained(tmp_path)
    save_weights(tmp_path / "motion.safetensors", {"x": torch.zeros(1)}, {}, {"model": "face"})
    with pytest.raises(CheckpointError, match="face"):
        MotionGenerator.from_pretrained(tmp_path)
    model = make_model()
    tensors = {k: v for k, v in model.state_dict().items() if k != "transformer.position"}
    save_motion(tmp_path / "motion.safetensors", model, tensors, {}, "f", {})
    with pytest.raises(CheckpointError, match="transformer.position"):
        MotionGenerator.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.zeros(0, A), "at least one frame"),
        (torch.zeros(5, A + 1), f"\\(T, {A}\\)"),
        (torch.full((5, A), torch.nan), "NaN"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    generator: MotionGenerator, source: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(generator, source)


def test_no_frames_cannot_be_asked_for(generator: MotionGenerator) -> None:
    with pytest.raises(ValueError, match="num_frames"):
        run(generator, features(5), num_frames=0)
