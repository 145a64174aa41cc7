"""The Fréchet distance has the values of its definition, also where covariances are singular."""

from __future__ import annotations

import math

import metrics_adapter as adapter
import numpy as np
import pytest
import torch
from recipe import FOLDER, noise

from vasa.metrics.frechet import compare_sets, frechet_distance, split_half_distance

SETS = {
    "full64": (1000, 800, 64), "deficient400": (256, 200, 400), "single": (1, 1, 400),
    "same": (300, 300, 64), "bigmean": (600, 600, 32),
}  # fmt: skip
"""Rows of either set, and width."""


def features(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The golden inputs: correlated, of falling variance, the second set's mean moved."""
    rows, others, width = SETS[name]
    mix = noise(f"fd_mix_{name}", (width, width)).astype(np.float64) / np.sqrt(width)
    size = (np.arange(width) + 1.0) ** -0.5
    a = noise(f"fd_a_{name}", (rows, width)).astype(np.float64) * size @ mix
    b = noise(f"fd_b_{name}", (others, width)).astype(np.float64) * size[::-1] @ mix
    b = b + np.float32(0.2) * noise(f"fd_m_{name}", (width,))
    if name == "same":
        b = a.copy()
    if name == "bigmean":
        a, b = a + 50, b + 50
    return a.astype(np.float32).astype(np.float64), b.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("name", SETS)
def test_it_equals_the_float64_reference(name: str) -> None:
    with np.load(FOLDER / "fvd.npz") as golden:
        wanted, scale = (float(golden[f"frechet/{name}/{part}"]) for part in ("float64", "scale"))
    assert abs(adapter.frechet(*features(name)) - wanted) < 1e-6 * scale


def test_it_equals_the_definition_by_eigenvalues() -> None:
    """tr (S1 S2)^(1/2) is the sum of the roots of the eigenvalues of S1 S2."""
    a, b = features("full64")
    s1, s2 = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(s1 @ s2).real.clip(0)).sum()
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s1) + np.trace(s2) - 2 * roots
    assert adapter.frechet(a, b) == pytest.approx(wanted, rel=1e-9)


def test_gaussians_of_known_moments_have_the_closed_form() -> None:
    """Columns with exact means and deviations, uncorrelated: |m|^2 + sum (s1 - s2)^2."""
    base = torch.randn(200, 6, dtype=torch.float64)
    base = torch.linalg.qr(base - base.mean(0)).Q * math.sqrt(199)  # mean 0, covariance 1
    s1, s2 = torch.rand(2, 6, dtype=torch.float64) + 0.5
    mean = torch.randn(6, dtype=torch.float64)
    wanted = float(mean.square().sum() + (s1 - s2).square().sum())
    other = base[torch.randperm(200)]
    assert frechet_distance(base * s1, other * s2 + mean) == pytest.approx(wanted, rel=1e-9)


def test_a_set_is_at_distance_zero_from_itself_in_any_order() -> None:
    wide, tall = torch.randn(30, 64), torch.randn(300, 64)
    for some in (wide, tall):
        assert frechet_distance(some, some[torch.randperm(len(some))]) < 1e-10
    before = wide.clone()
    frechet_distance(wide, tall)
    assert torch.equal(wide, before)  # the published code moves its caller's features to mean zero


def test_fewer_rows_than_columns_are_exact() -> None:
    """Two sets in a plane of a 500-dimensional space are as far apart as in the plane."""
    plane = torch.linalg.qr(torch.randn(500, 2, dtype=torch.float64)).Q
    a, b = torch.randn(2, 40, 2, dtype=torch.float64)
    assert frechet_distance(a @ plane.T, b @ plane.T) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_bad_features_are_refused() -> None:
    good = torch.randn(4, 3)
    with pytest.raises(ValueError, match="second features have shape"):
        frechet_distance(good, torch.randn(4, 2))
    with pytest.raises(ValueError, match="first features have shape"):
        frechet_distance(good[:0], good)
    with pytest.raises(ValueError, match="not all finite"):
        frechet_distance(good, good * math.nan)


def test_the_floor_deals_whole_clips_by_the_seed_and_falls_with_their_number() -> None:
    clips = [torch.randn(1, 8) + torch.randn(4, 8) * 0.1 for _ in range(80)]
    floor = split_half_distance(clips, 3)
    assert floor == split_half_distance(clips, 3) != split_half_distance(clips, 4)
    assert split_half_distance(clips[:16], 3) > 2 * floor
    rows = [row[None] for row in torch.cat(clips)]
    assert split_half_distance(rows, 3) < floor  # halves that share videos are closer than they should be
    assert math.isnan(split_half_distance(clips[:1], 3))


def test_too_few_rows_have_no_number_but_are_counted() -> None:
    made, real = [torch.randn(3, 4) for _ in range(4)], [torch.randn(3, 4) for _ in range(5)]
    found = compare_sets("fvd", made, real, least=13, seed=0)
    assert math.isnan(found["fvd"]) and found["fvd_floor"] > 0
    assert (found["num_made"], found["num_real"]) == (12, 15)
    assert compare_sets("fvd", made, real, least=12, seed=0)["fvd"] > 0
    empty = compare_sets("fvd", made, [], least=1, seed=0)
    assert math.isnan(empty["fvd"]) and math.isnan(empty["fvd_floor"]) and empty["num_real"] == 0
