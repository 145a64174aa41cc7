"""Speech: what is said, when, what the mouth does meanwhile, and what a recording of it leaves of that."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from vasa.data.config import SpokenConfig
from vasa.data.synthetic import augment as recording
from vasa.data.synthetic import espeak
from vasa.data.synthetic.formants import PHONES, FormantVoice, speak_phrase
from vasa.data.synthetic.phonemes import SILENCE, VISEMES, Phoneme, split_ipa, spread
from vasa.data.synthetic.sentences import LANGUAGES, UNSPACED, WORDS, sentence
from vasa.data.synthetic.speech import Speech, augment, silence, synthesise, voice_from_seed
from vasa.data.synthetic.visemes import loudness_db, viseme_track
from vasa.pretrained.config import SpeechConfig
from vasa.pretrained.speech import build_speech_encoder
from vasa.records import AUDIO_HZ, CONTROL_NAMES, SAMPLES_PER_FRAME, VIDEO_FPS

FORMANT = SpokenConfig(espeak_share=0.0)
ESPEAK = SpokenConfig(espeak_share=1.0)
needs_espeak = pytest.mark.skipif(
    not espeak.installed(), reason="the training extra (espeak-ng) is not installed"
)
ENGINES = [pytest.param(FORMANT, id="formant"), pytest.param(ESPEAK, id="espeak", marks=needs_espeak)]


def speech_of(config: SpokenConfig, seed: int, seconds: float = 4.0, split: str = "train") -> Speech:
    return synthesise(seed, seconds, voice_from_seed(seed, split, config))


@pytest.mark.parametrize("config", ENGINES)
def test_speech_is_a_pure_function_of_its_seed(config: SpokenConfig) -> None:
    first = speech_of(config, 3)
    speech_of(config, 4)  # leaves whatever state there is behind
    again, other = speech_of(config, 3), speech_of(config, 4)
    np.testing.assert_array_equal(first.audio, again.audio)
    np.testing.assert_array_equal(first.visemes, again.visemes)
    assert first.phonemes == again.phonemes
    assert not np.array_equal(first.audio, other.audio)


@pytest.mark.parametrize("config", ENGINES)
def test_speech_has_whole_frames_and_controls_in_range(config: SpokenConfig) -> None:
    speech = speech_of(config, 5, seconds=3.03)
    assert speech.audio.dtype == np.float32
    assert len(speech.audio) == 76 * SAMPLES_PER_FRAME == speech.num_frames * SAMPLES_PER_FRAME
    assert np.abs(speech.audio).max() < 1
    assert (speech.visemes >= (0, -1, 0, 0)).all()
    assert (speech.visemes <= 1).all()
    starts = [p.start_s for p in speech.phonemes]
    assert starts == sorted(starts)
    assert speech.phonemes[-1].end_s <= 3.04 + 1e-6


@pytest.mark.parametrize("config", ENGINES)
def test_mouth_is_closed_in_pauses_and_opens_with_loud_vowels(config: SpokenConfig) -> None:
    speeches = [speech_of(config, seed, seconds=8.0) for seed in range(6)]
    jaw = np.concatenate([s.visemes[:, 0] for s in speeches])
    loudness = np.concatenate([s.loudness for s in speeches])
    level = np.concatenate([loudness_db(s.audio, VIDEO_FPS, 0.2) for s in speeches])
    quiet = level < -45  # 200 ms of nothing around the frame
    assert quiet.sum() > 10
    assert jaw[quiet].mean() < 0.03
    assert np.percentile(jaw, 95) > 0.55
    assert np.corrcoef(jaw, loudness)[0, 1] > 0.45


@pytest.mark.parametrize("config", ENGINES)
def test_lips_meet_where_the_sound_of_p_is_interrupted(config: SpokenConfig) -> None:
    press, level = [], []
    for seed in range(20):
        speech = speech_of(config, seed, seconds=6.0)
        fine = loudness_db(speech.audio, 200, 0.012)
        for before, phoneme in zip(speech.phonemes, speech.phonemes[1:], strict=False):
            if phoneme.symbol == "p" and phoneme.start_s - before.end_s < 1e-6:
                closure = phoneme.start_s + 0.025
                level.append(fine[int(closure * 200)] - fine[int((before.start_s + before.end_s) / 2 * 200)])
                press.append(speech.visemes[min(int(closure * VIDEO_FPS), speech.num_frames - 1), 3])
    assert len(press) > 8
    assert np.median(press) > 0.6
    assert np.median(level) < -15  # dB, against the sound before


def test_formants_are_where_the_phone_table_puts_them() -> None:
    """The two strongest regions of i and a differ as their first formants do (280 against 760 Hz)."""
    voice = FormantVoice(0, 110.0, 0.5, 1.0, 0.0, 0.0, 1.0, False)
    from vasa.data.synthetic import formants

    share = {}
    for symbol in "ia":
        audio = formants._render([Phoneme(symbol, 0.0, 0.5, 2)], voice, np.random.default_rng(0))
        power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
        hz = np.fft.rfftfreq(len(audio), 1 / AUDIO_HZ)
        band = power[(hz > 550) & (hz < 1000)].sum()
        share[symbol] = band / power[(hz > 100) & (hz < 1000)].sum()
    assert share["a"] > 0.6
    assert share["i"] < 0.15


def test_inventory_covers_the_classes_of_sounds() -> None:
    assert len(PHONES) >= 30
    assert set(PHONES) <= set(VISEMES)
    audio, phonemes = speak_phrase(FormantVoice.from_seed(1), np.random.default_rng(1))
    assert phonemes[-1].symbol == SILENCE
    assert abs(len(audio) / AUDIO_HZ - phonemes[-1].end_s) < 1e-3


def test_coarticulation_rounds_before_the_vowel_and_spares_the_closure() -> None:
    """t takes the rounding of the u that follows; p between two open vowels closes the mouth all the same."""
    sound = np.sin(np.arange(AUDIO_HZ) / 8).astype(np.float32) * 0.1

    def at(symbols: str, control: str, when: float) -> float:
        phonemes = [Phoneme(s, 0.3 + 0.1 * i, 0.4 + 0.1 * i, 2) for i, s in enumerate(symbols)]
        return viseme_track(phonemes, sound)[
            int(when * VIDEO_FPS), ("jaw", "lip_width", "lip_pucker", "lip_press").index(control)
        ]

    assert at("tu", "lip_pucker", 0.37) > at("ti", "lip_pucker", 0.37) + 0.2
    assert at("apa", "lip_press", 0.45) > 0.9
    assert at("apa", "jaw", 0.45) < 0.1
    assert at("aka", "jaw", 0.45) > 0.3
    assert {"jaw", "lip_width", "lip_pucker", "lip_press"} <= set(CONTROL_NAMES)


def test_louder_vowels_open_wider() -> None:
    t = np.arange(2 * AUDIO_HZ) / AUDIO_HZ
    sound = (0.1 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    sound[AUDIO_HZ:] *= 0.25  # 12 dB softer
    track = viseme_track([Phoneme("a", 0.2, 0.8, 2), Phoneme("a", 1.2, 1.8, 2)], sound)
    assert track[12, 0] > 1.15 * track[37, 0]


def test_ipa_is_split_into_known_symbols() -> None:
    assert split_ipa("ˈoʊ") == (["o", "ʊ"], 2)
    assert split_ipa("tɕh") == (["t", "ɕ", "h"], 0)
    assert split_ipa("ɔ̃") == (["ɔ"], 0)
    parts = spread("aɪ", 1.0, 1.2)
    assert [(p.symbol, round(p.start_s, 3), round(p.end_s, 3)) for p in parts] == [
        ("a", 1.0, 1.1),
        ("ɪ", 1.1, 1.2),
    ]
    with pytest.raises(ValueError, match="no viseme"):
        split_ipa("☃")


@needs_espeak
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_every_language_has_visemes(language: str) -> None:
    voice = espeak.EspeakVoice(0, language, "m1", 200, 50, 50, 1.0)
    text = ("" if language in UNSPACED else " ").join(WORDS[language].split())
    with espeak.EspeakSession(voice) as session:
        audio, phonemes = session.speak(text)  # raises on an unknown symbol
    symbols = {p.symbol for p in phonemes}
    assert len(symbols) >= 18
    assert symbols & set("pbm")
    assert len(audio) / AUDIO_HZ > 0.1 * len(WORDS[language].split())


@needs_espeak
def test_all_voice_variants_speak_and_no_two_splits_share_one() -> None:
    names = [name for group in espeak.VARIANTS.values() for name in group]
    assert len(names) == len(set(names))
    for name in names:
        with espeak.EspeakSession(espeak.EspeakVoice(0, "en-us", name, 200, 50, 50, 1.0)) as session:
            audio, _ = session.speak("maybe")
        assert np.abs(audio).max() > 0.02, name


@needs_espeak
def test_warp_moves_phonemes_with_the_sound() -> None:
    spoken = {}
    for warp in (0.9, 1.1):
        with espeak.EspeakSession(espeak.EspeakVoice(0, "de", "m1", 160, 50, 50, warp)) as session:
            audio, phonemes = session.speak("guten Morgen")
        spoken[warp] = (len(audio), phonemes[-1].start_s)
    assert spoken[0.9][0] / spoken[1.1][0] == pytest.approx(1.1 / 0.9, rel=0.01)
    assert spoken[0.9][1] / spoken[1.1][1] == pytest.approx(1.1 / 0.9, rel=0.03)


def test_missing_espeak_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match=r"training extra .* espeak_share=0"):
        voice_from_seed(0, "train", ESPEAK)
    assert isinstance(voice_from_seed(0, "train", FORMANT), FormantVoice)


def test_wrong_languages_and_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="klingon"):
        voice_from_seed(0, "train", SpokenConfig(languages=["klingon"]))
    with pytest.raises(ValueError, match="espeak_share is 1.5"):
        SpokenConfig(espeak_share=1.5)
    with pytest.raises(ValueError, match="split is 'dev'"):
        voice_from_seed(0, "dev")


@needs_espeak
def test_engines_share_clips_as_configured() -> None:
    voices = [voice_from_seed(seed, "train", SpokenConfig(espeak_share=0.67)) for seed in range(400)]
    share = np.mean([isinstance(voice, espeak.EspeakVoice) for voice in voices])
    assert share == pytest.approx(0.67, abs=0.08)  # 3.5 standard deviations of a binomial


def test_sentences_are_of_the_language_and_end() -> None:
    text = sentence("de", np.random.default_rng(0))
    assert text[-1] in ".?!"
    assert set(text.rstrip(".?!").replace(",", "").split()) <= set(WORDS["de"].split())


def test_augmentation_keeps_time_and_range_and_depends_on_its_generator() -> None:
    speech = speech_of(FORMANT, 11, seconds=6.0)
    level = loudness_db(speech.audio, VIDEO_FPS, 0.06)
    correlations = []
    for seed in range(8):
        sound = augment(speech.audio, np.random.default_rng(seed))
        assert sound.shape == speech.audio.shape
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 1
        heard = loudness_db(sound, VIDEO_FPS, 0.06)
        inner, heard = np.maximum(level, -40)[5:-5], np.maximum(heard, -40)
        lagged = [heard[5 + lag : len(heard) - 5 + lag] for lag in range(-4, 5)]
        correlations.append([np.corrcoef(inner, track)[0, 1] for track in lagged])
    assert np.mean(correlations, axis=0).argmax() == 4  # no delay
    np.testing.assert_array_equal(
        augment(speech.audio, np.random.default_rng(1)), augment(speech.audio, np.random.default_rng(1))
    )


@pytest.mark.parametrize("kind", recording.NOISES)
def test_each_noise_has_unit_power(kind: str) -> None:
    sound = recording.noise(kind, 3 * AUDIO_HZ, np.random.default_rng(0))
    assert np.sqrt((sound**2).mean()) == pytest.approx(1, rel=1e-6)


def test_filters_do_not_delay() -> None:
    click = np.zeros(4000)
    click[2000] = 1.0
    for effect in (recording.equalise, recording.room, recording.telephone):
        out = effect(click, np.random.default_rng(3))
        assert np.abs(out).argmax() == 2000, effect.__name__


def test_silence_is_silent_and_becomes_noise_alone_under_augmentation() -> None:
    nobody = silence(2.0)
    assert nobody.engine == "silence"
    assert not nobody.visemes.any()
    sounds = [augment(nobody.audio, np.random.default_rng(seed)) for seed in range(6)]
    assert sum(np.abs(sound).max() > 1e-3 for sound in sounds) >= 4


def test_visemes_can_be_heard() -> None:
    """Ridge regression on log-mel features finds the jaw of unheard voices: sound and mouth match."""
    encoder = build_speech_encoder(SpeechConfig())

    def data(seeds: range, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = [], []
        for seed in seeds:
            speech = speech_of(FORMANT, seed, seconds=6.0, split=split)
            features = encoder.features(speech.audio, speech.num_frames)
            around = [torch.roll(features, lag, 0) for lag in (-2, -1, 0, 1, 2)]
            inputs.append(torch.cat([*around, features.square(), torch.ones(len(features), 1)], 1))
            targets.append(torch.from_numpy(speech.visemes))
        return torch.cat(inputs).double(), torch.cat(targets).double()

    x, y = data(range(24), "train")
    weights = torch.linalg.solve(x.T @ x + 3.0 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ y)
    x, y = data(range(1000, 1008), "test")
    error = ((x @ weights - y) ** 2).mean(0) / y.var(0)
    assert 1 - error[0] > 0.6  # R2 of the jaw; 0.93 with a small convolutional network
    assert 1 - error[1] > 0.2


def test_a_sentence_that_crashes_the_library_is_spoken_again() -> None:
    voice = espeak.EspeakVoice(40739, "es", "rob", 138, 26, 83, 1.0278140036764742)  # crashed espeak-ng 1.52

    def say() -> np.ndarray:
        with espeak.EspeakSession(voice) as session:
            return session.speak("vive casa juegan quiero dentro.")[0]

    assert len(say()) > AUDIO_HZ
    assert np.array_equal(say(), say())
