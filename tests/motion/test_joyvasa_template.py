"""Raw keypoint motion and the model's."""

import numpy as np
import pytest
import torch
from joyvasa_cases import seeded, template

from vasa.motion.joyvasa_template import (
    EXPRESSION,
    PITCH,
    ROLL,
    SCALE,
    TRANSLATION,
    YAW,
    JoyvasaNormalizer,
)


def normalizer() -> JoyvasaNormalizer:
    made = JoyvasaNormalizer()
    made.set_template(template())
    return made


def test_normalise_undoes_denormalise() -> None:
    motion = torch.randn(2, 5, 70, generator=seeded())
    made = normalizer()
    torch.testing.assert_close(made.normalise(made.denormalise(motion)), motion, rtol=1e-4, atol=1e-4)


def test_each_entry_goes_where_the_layout_says() -> None:
    """The model's order is exp, scale, t, pitch, yaw, roll; three entries more are not used."""
    values = {k: torch.from_numpy(v) for k, v in template().items()}
    motion = torch.randn(73, generator=seeded())
    raw = normalizer().denormalise(motion)
    for name, entry, source in (
        ("scale", slice(SCALE, SCALE + 1), slice(63, 64)),
        ("t", TRANSLATION, slice(64, 67)),
        ("pitch", slice(PITCH, PITCH + 1), slice(67, 68)),
        ("yaw", slice(YAW, YAW + 1), slice(68, 69)),
        ("roll", slice(ROLL, ROLL + 1), slice(69, 70)),
    ):
        low, high = values[f"min_{name}"], values[f"max_{name}"]
        torch.testing.assert_close(raw[entry], motion[source] * (high - low) + low)
    torch.testing.assert_close(raw[EXPRESSION], motion[:63] * values["std_exp"] + values["mean_exp"])


def test_statistics_travel_in_the_state() -> None:
    other = JoyvasaNormalizer()
    other.load_state_dict(normalizer().state_dict())
    motion = torch.randn(70, generator=seeded())
    assert torch.equal(other.denormalise(motion), normalizer().denormalise(motion))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_exp": np.zeros(60, np.float32)}, "mean_exp is .60,.; wanted 63"),
        ({"min_yaw": None}, "min_yaw is nothing"),
        ({"std_exp": np.full(63, np.nan, np.float32)}, "std_exp is not finite"),
        ({"max_t": np.full(3, -9.0, np.float32)}, "maximum lies below"),
    ],
)
def test_templates_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JoyvasaNormalizer().set_template({**template(), **change})
