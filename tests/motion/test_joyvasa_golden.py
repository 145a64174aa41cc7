"""JoyVASA against upstream's recorded outputs under made-up weights: what ``check_golden.py`` does not
compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import adapter_joyvasa as adapter
import make_weights as kit
import numpy as np
import pytest
import torch
from torch import Tensor

from vasa.motion.joyvasa import JoyvasaModel, PositionTable
from vasa.motion.joyvasa_config import HubertSizes, JoyvasaConfig
from vasa.motion.joyvasa_folded import window_estimates
from vasa.motion.joyvasa_hubert import pad_audio
from vasa.motion.joyvasa_objective import training_estimate, window_terms
from vasa.motion.joyvasa_template import EXPRESSION, PITCH, ROLL, SCALE, TRANSLATION, YAW, JoyvasaNormalizer
from vasa.motion.joyvasa_upstream import plan, upstream_motion
from vasa.motion.joyvasa_windows import JoyvasaMotion

FOLDER = Path(__file__).resolve().parent.parent / "golden"
NETWORK, SAMPLED = 1e-4, 1e-3
"""The kit's own tolerances of a network's output and of 50 steps of it, in units of the values' rms."""
TERMS = ("all", "exp", "exp_velocity", "exp_smoothness", "head", "head_velocity", "head_smoothness")


@pytest.fixture(scope="module")
def golden() -> Iterator[np.lib.npyio.NpzFile]:
    with np.load(FOLDER / "joyvasa_golden.npz") as arrays:
        yield arrays


def error(golden: np.lib.npyio.NpzFile, name: str, value: Tensor | np.ndarray) -> float:
    """Largest difference from a recorded array, or from the recorded part of it, over its rms."""
    got = np.asarray(value, np.float64).reshape(-1)
    if name in golden:
        wanted = golden[name].astype(np.float64).reshape(-1)
    else:
        assert got.size == np.prod(golden[f"{name}#shape"])
        wanted = golden[f"{name}#probe"].astype(np.float64)
        got = got[kit.probe_index(name, got.size)]
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.sqrt(np.square(wanted).mean()))


def unit(name: str, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.from_numpy(kit.unit_noise(name, shape, scale))


def filled(**changes: object) -> JoyvasaModel:
    """A model under the kit's weights; by default with a small speech encoder, as most cases use none."""
    small = HubertSizes(
        width=64, num_layers=1, feedforward=48, conv_width=16, position_kernel=16, position_groups=4
    )
    model = JoyvasaModel(JoyvasaConfig(**{"hubert": small, **changes}))
    kit.fill_module(model, "J")
    return model.eval().requires_grad_(False)


def test_position_tables(golden: np.lib.npyio.NpzFile) -> None:
    tables = {"PE_table": PositionTable(600, 256), "TE_table": PositionTable(501, 256)}
    for name, table in tables.items():
        # One unit in the last place of an angle of 599 radians, times sqrt(2): exp differs by the processor.
        assert error(golden, f"pe/{name}", table.pe) < 9e-5
    for position in ("legacy", "fixed"):
        net = filled(position=position).denoising_net
        added = net.positions()
        assert error(golden, f"pe/{position}_of_zeros_len110", added) < 2e-5  # angles of 110 radians


def test_padding_of_sound(golden: np.lib.npyio.NpzFile) -> None:
    speech = torch.from_numpy(kit.audio("speech", 64000))
    for length in (64000, 63999, 12345, 1000):
        padded = pad_audio(speech[None, :length])[0]
        assert len(padded) == int(golden[f"pad/{length}/len"][0])
        assert np.array_equal(padded[:64], golden[f"pad/{length}/head"])
        assert np.array_equal(padded[-64:], golden[f"pad/{length}/tail"])


def test_plan_of_windows(golden: np.lib.npyio.NpzFile) -> None:
    for samples, heard, windows, missing, cut, frames in golden[
        "window/plan_n_clip_sub_padsamples_padframes_frames"
    ]:
        found = plan(int(samples))
        assert (found.heard_frames, found.windows, found.missing_samples) == (heard, windows, missing)
        assert (found.cut_frames, found.num_frames) == (cut, frames)


@pytest.mark.parametrize("criterion", ["l2", "l1"])
@pytest.mark.parametrize("start", [1, 0])
@pytest.mark.parametrize("lengths", [None, (40, 77)])
def test_loss_terms(
    golden: np.lib.npyio.NpzFile, criterion: str, start: int, lengths: tuple[int, ...] | None
) -> None:
    case = "full" if lengths is None else "trunc40_77"
    wanted = golden[f"loss/{criterion}_start{start}_{case}"]
    terms = window_terms(
        unit("loss_target", 2, 125, 70),
        unit("loss_gt", 2, 100, 70),
        None if start else unit("loss_prev", 2, 25, 70),
        None if lengths is None else torch.tensor(lengths),
        criterion,
    )
    assert [float(terms[name]) for name in TERMS] == pytest.approx(wanted[:7], rel=1e-5)
    assert ("head_transition" not in terms) == bool(np.isnan(wanted[7]))
    if not start:
        assert float(terms["head_transition"]) == pytest.approx(wanted[7], rel=1e-5)


def test_folded_window_is_the_published_graph_at_full_size() -> None:
    model = filled()
    given = (unit("audio", 1, 100, 256), unit("motion", 1, 10, 73), unit("past", 1, 10, 256))
    x_t = unit("x_t", 1, 100, 73)
    folded, plain = (window_estimates(model, *given, plain=p)(x_t, 25) for p in (False, True))
    torch.testing.assert_close(folded, plain, rtol=0, atol=1e-5)


def test_training_estimate(golden: np.lib.npyio.NpzFile) -> None:
    model = filled()
    found = training_estimate(
        model,
        unit("train_motion", 2, 100, 73),
        unit("train_audio", 2, 100, 256, scale=0.5),
        model.start(2),
        torch.tensor([7, 31]),
        unit("train_eps", 2, 100, 73),
        torch.tensor([False, True]),
    )
    assert error(golden, "train/target_pred", found) < NETWORK


@pytest.mark.full
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("cfg2.8_flex1", {"flexibility": 1.0}),
        ("cfg2.8_dynthr", {"dynamic_threshold": (0.9, 1.0, 4.0)}),
        ("cfg2.8_target_noise", {"target": "noise"}),
    ],
)
def test_sampling(golden: np.lib.npyio.NpzFile, case: str, options: dict[str, object]) -> None:
    model = filled(target=options.pop("target", "sample"))
    found = adapter.run_sample(
        model,
        unit("sample_audio_feat", 1, 100, 256, scale=0.5),
        unit("sample_xT", 1, 100, 73),
        lambda t: unit(f"sample_w0_z{t}", 1, 100, 73),
        cfg_scale=2.8,
        **options,
    )
    assert error(golden, f"sample/legacy_{case}/out", found) < SAMPLED


@pytest.fixture(scope="module")
def whole() -> JoyvasaModel:
    """The released sizes, speech encoder included: 103 million weights."""
    return filled(hubert=HubertSizes())


@pytest.mark.full
@torch.no_grad()
def test_speech_encoder_layer_by_layer(golden: np.lib.npyio.NpzFile, whole: JoyvasaModel) -> None:
    encoder = whole.audio_encoder
    watched = {
        "feature_extractor": encoder.feature_extractor,
        "feature_projection": encoder.feature_projection,
        "pos_conv_embed": encoder.encoder.pos_conv_embed,
        "encoder.layer0": encoder.encoder.layers[0],
        "encoder.layer11": encoder.encoder.layers[11],
    }
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: object, given: object, out: Tensor | tuple[Tensor, ...]) -> None:
        seen[name] = out[0] if isinstance(out, tuple) else out

    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in watched.items()]
    whole.audio_features(torch.from_numpy(kit.audio("speech", 64000))[None], 100)
    for hook in hooks:
        hook.remove()
    for name in watched:
        assert error(golden, f"audio/hook/{name}", seen[name]) < NETWORK, name
    long = whole.audio_features(torch.from_numpy(kit.audio("speech2", 128000))[None], 200)
    assert error(golden, "audio/feat_200_of_8s", long) < NETWORK


@pytest.mark.full
@pytest.mark.parametrize(
    ("case", "position", "smooth"),
    [("legacy", "legacy", False), ("legacy_smooth", "legacy", True), ("fixed_smooth", "fixed", True)],
)
def test_whole_run(
    golden: np.lib.npyio.NpzFile, whole: JoyvasaModel, case: str, position: str, smooth: bool
) -> None:
    prefix = "sequence/template/"
    template = {n.removeprefix(prefix): golden[n] for n in golden.files if n.startswith(prefix)}
    normalizer = JoyvasaNormalizer()
    normalizer.set_template(template)
    whole.denoising_net.config.position = position
    motion = JoyvasaMotion(whole, normalizer)
    sound = torch.from_numpy(kit.audio("speech_long", int(golden["sequence/n_samples"][0])))
    x_T = unit("seq_xT", 100, 73)
    raw = torch.cat(list(upstream_motion(motion, sound, x_T, _recorded, guidance_scale=2.8, smooth=smooth)))
    assert len(raw) == int(golden[f"sequence/{case}/n_frames"][0])
    for name, entries in (
        ("exp", EXPRESSION),
        ("scale", SCALE),
        ("t", TRANSLATION),
        ("pitch", PITCH),
        ("yaw", YAW),
        ("roll", ROLL),
    ):
        assert error(golden, f"sequence/{case}/{name}", raw[:, entries]) < SAMPLED, name


def _recorded(window: int, t: int) -> Tensor:
    return unit(f"seq_w{window}_z{t}", 100, 73)
