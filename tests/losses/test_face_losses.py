"""Every stage-1 loss against a value computed by hand, and where its gradient goes."""

import math

import pytest
import torch

from vasa.losses.adversarial import discriminator_hinge, feature_matching, generator_hinge
from vasa.losses.config import LABELLED, LABELLED_SHARES, FaceLossConfig
from vasa.losses.disentanglement import consistency, contrastive_cycle, cross_identity, decorrelation
from vasa.losses.reconstruction import detail_weight, flow_huber, gradient_l1, mask_cross_entropy, weighted_l1


def test_weighted_l1_by_hand():
    predicted, target = torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1, 1, 2)
    weight = torch.tensor([[[[3.0, 1.0]]]])
    assert weighted_l1(predicted, target, weight).item() == pytest.approx((3 * 1 + 1 * 3) / 4)


def test_gradient_l1_ignores_a_constant_and_counts_an_edge():
    target, weight = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert gradient_l1(target + 0.5, target, weight).item() == pytest.approx(0)
    edge = target.clone()
    edge[..., 2:] = 1  # one of three horizontal differences at scale 0; one of one at scale 1
    assert gradient_l1(edge, target, weight, scales=2).item() == pytest.approx(1 / 3 + 1)


def test_detail_weight_covers_the_boxes():
    eyes = torch.tensor([[[-1.0, -1.0, -0.5, -0.5], [0.5, -1.0, 1.0, -0.5]]])
    mouth = torch.tensor([[-0.25, 0.5, 0.25, 1.0]])
    weight = detail_weight(eyes, mouth, 8, extra=4.0)[0, 0]
    assert weight[0, 0] == weight[0, 7] == weight[7, 4] == 5
    assert weight[0, 4] == weight[4, 4] == 1


def test_flow_huber_counts_visible_pixels_only():
    true = torch.zeros(1, 1, 2, 2)
    predicted = torch.tensor(
        [[[[2.0 / 64, 0.0], [9.0, 9.0]]]]
    )  # one pixel of a 64 px image; the other is hidden
    visible = torch.tensor([[[1.0, 0.0]]])
    assert flow_huber(predicted, true, visible, 64).item() == pytest.approx(0.5)


def test_mask_cross_entropy_by_hand():
    alpha, visible = torch.tensor([[[0.25, 0.9]]]), torch.tensor([[[1.0, 1.0]]])
    support = torch.tensor([[[1.0, 0.0]]])
    assert mask_cross_entropy(alpha, visible, support).item() == pytest.approx(-math.log(0.75), rel=1e-4)


def test_consistency_is_symmetric_and_moves_both_sides():
    a, b = torch.tensor([1.0], requires_grad=True), torch.tensor([0.5], requires_grad=True)
    loss = consistency(a, b)
    assert loss.item() == pytest.approx(0.5) == consistency(b, a).item()
    loss.backward()
    assert a.grad.item() == pytest.approx(1) == -b.grad.item()


def test_cross_identity_is_one_minus_cosine():
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    assert cross_identity(a, b).item() == pytest.approx(1 - 1 / math.sqrt(2))


def test_contrastive_cycle_by_hand_with_the_margin_on_the_positive():
    predicted, driver, other = (
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[2.0, 0.0]]),
        torch.tensor([[0.0, 3.0]]),
    )
    positive = math.exp(5 * (1 - 0.2))
    assert contrastive_cycle(predicted, driver, other).item() == pytest.approx(
        -math.log(positive / (positive + 1)), rel=1e-4
    )


def test_cycle_pulls_towards_the_driver():
    predicted = torch.tensor([[1.0, 1.0]], requires_grad=True)
    contrastive_cycle(predicted, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])).backward()
    assert predicted.grad[0, 0] < 0 < predicted.grad[0, 1]


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="feature_matching is 40.* no discriminator"):
        FaceLossConfig(feature_matching=40)
    with pytest.raises(ValueError, match="transfer_every"):
        FaceLossConfig(transfer_every=0)


def test_terms_that_need_truth_are_named():
    free = dict.fromkeys((*LABELLED, *LABELLED_SHARES), 0)
    assert FaceLossConfig(**free).needs_labels == []
    assert FaceLossConfig(**{**free, "flow": 0.1}).needs_labels == ["flow"]
    assert FaceLossConfig(**{**free, "true_controls_share": 0.1}).needs_labels == ["true_controls_share"]


def verdict(score, feature):
    return [(torch.full((2, 1, 3, 3), score), [torch.full((2, 4, 6, 6), feature)]) for _ in range(2)]


def test_hinge_by_hand():
    real, fake = verdict(0.4, 1.0), verdict(-0.5, 0.0)
    assert discriminator_hinge(real, fake).item() == pytest.approx(0.6 + 0.5)
    assert discriminator_hinge(verdict(2.0, 0.0), verdict(-3.0, 0.0)).item() == 0  # sure, and right
    assert generator_hinge(fake).item() == pytest.approx(0.5)
    assert feature_matching(real, fake).item() == pytest.approx(1.0)


def test_decorrelation_sees_a_leak_and_forgives_chance():
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(2000, 6, generator=generator)
    free = torch.randn(2000, 5, generator=generator)
    assert abs(decorrelation(free, pose).item()) < 1e-3
    leaking = torch.cat([free, pose[:, :1]], 1)
    assert decorrelation(leaking, pose).item() > 1 / 36 - 1e-2  # one of 6 x 6 correlations is 1
