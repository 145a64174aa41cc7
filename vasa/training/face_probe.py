"""What a face space's codes hold and what its pictures obey, measured on people it has never seen.

Truth and judges are for scoring only: none of this is in a loss. The same numbers serve labelled and
label-free recipes, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vasa.data.frame_pairs import FacePairs
from vasa.face.volumetric.autoencoder import FaceAutoencoder
from vasa.metrics.correlation import pearson
from vasa.metrics.video import psnr
from vasa.pretrained.judges import Judges
from vasa.records import CONTROL_INDEX, POSE_NAMES
from vasa.training.driver_augment import to_float
from vasa.training.face_step import resized

REACH = {
    "blink": ("blink_left", "blink_right"),
    "gaze_yaw": ("gaze_yaw",),
    "gaze_pitch": ("gaze_pitch",),
    "brow": ("brow_raise",),
    "frown": ("frown",),
    "jaw": ("jaw",),
    "lip_width": ("lip_width",),
    "pucker": ("lip_pucker",),
    "press": ("lip_press",),
    "smile": ("smile",),
}
"""Controls whose reach is measured; the two eyelids together."""
RIDGE = 1e-2
"""Of the variance of a code, added to the probe's normal equations."""


def linear_r2(codes: Tensor, wanted: Tensor, fitting: Tensor) -> Tensor:
    """R2 (K,) of a linear probe codes (N, E) -> wanted (N, K), fitted where ``fitting`` (N,) says so and
    scored elsewhere. Below 0: worse than the mean.
    """
    mean, scale = codes[fitting].mean(0), codes[fitting].std(0).clamp(min=1e-6)
    design = F.pad((codes - mean) / scale, (0, 1), value=1.0).double()
    fit, target = design[fitting], wanted[fitting].double()
    normal = fit.T @ fit + RIDGE * len(fit) * torch.eye(fit.shape[1], dtype=torch.double)
    weights = torch.linalg.solve(normal, fit.T @ target)
    error = (design[~fitting] @ weights - wanted[~fitting]).square().sum(0)
    spread = (wanted[~fitting] - wanted[fitting].mean(0)).double().square().sum(0)
    return (1 - error / spread).float()


def _combined(controls: Tensor) -> Tensor:
    """Controls (N, 11) -> (N, len(REACH))."""
    columns = [[CONTROL_INDEX[name] for name in names] for names in REACH.values()]
    return torch.stack([controls[:, index].mean(1) for index in columns], 1)


@torch.no_grad()
def probe(
    model: FaceAutoencoder, batches: Sequence[FacePairs], judges: Judges, size: int | None = None
) -> dict[str, float]:
    """Batches whose drivers are other people under the targets' animation (train_face.held_out).

    size: pixels that pictures are made at, by default the model's.
    reach_X: correlation over people and frames of the driver's true control X with what a judge reads in the
    picture of the source under the driver's codes; reach: their mean; ceiling_X: the same of true pictures.
    leak_X: R2 of a linear probe of pose entry X in z_dyn, on people the probe was not fitted on; leak: the
    largest of yaw, pitch and roll. knows: mean R2 of the probe of the controls. drift: how far the judge of
    identity sees the output from the source, in distances between people. psnr_X in dB: self, cross (both
    against true pictures) and copy of the source; sharpness: gradient energy of self over the target's.
    """
    seen: dict[str, list[Tensor]] = {}

    def keep(**values: Tensor) -> None:
        for name, value in values.items():
            seen.setdefault(name, []).append(value)

    people: list[int] = []
    for batch in batches:
        assert batch.target_pose is not None and batch.target_controls is not None
        source, target, driver = (to_float(x) for x in (batch.source, batch.target, batch.driver))
        poses, codes = model.motion_codes(torch.cat([source, target, driver]))
        (pose_s, pose_t, pose_d), (dyn_s, dyn_t, dyn_d) = poses.chunk(3), codes.chunk(3)
        source, target = (resized(x, size or model.size) for x in (source, target))
        appearance = model.encode_with(source, source, pose_s, dyn_s)
        own = model.decode(appearance, pose_t, dyn_t).image
        cross = model.decode(appearance, pose_d, dyn_d).image
        keep(psnr_self=psnr(own, target), psnr_cross=psnr(cross, target), psnr_copy=psnr(source, target))
        keep(energy_own=_gradient_energy(own), energy_true=_gradient_energy(target))
        made, true, shown = (judges.measure(x) for x in (cross, target, source))
        keep(read=_combined(made.controls), truly_read=_combined(true.controls))
        keep(wanted=_combined(batch.target_controls), pose=batch.target_pose, codes=dyn_t)
        keep(changed=1 - (made.identity * shown.identity).sum(-1))
        keep(apart=1 - (shown.identity * shown.identity.roll(1, 0)).sum(-1))
        people += [int(name.split("-")[1].split(":")[0]) for name in batch.ids]
    found = {name: torch.cat(values).cpu() for name, values in seen.items()}
    return _summary(found, torch.tensor(people))


def _summary(found: dict[str, Tensor], people: Tensor) -> dict[str, float]:
    fitting = people // 2 % 2 == 0
    reach, ceiling = pearson(found["read"], found["wanted"]), pearson(found["truly_read"], found["wanted"])
    leak = linear_r2(found["codes"], found["pose"], fitting)
    knows = linear_r2(found["codes"], found["wanted"], fitting)
    result = {name: found[name].mean().item() for name in ("psnr_self", "psnr_cross", "psnr_copy")}
    result["sharpness"] = (found["energy_own"].mean() / found["energy_true"].mean()).item()
    result["drift"] = (found["changed"].mean() / found["apart"].mean()).item()
    result |= {"reach": reach.mean().item(), "ceiling": ceiling.mean().item(), "knows": knows.mean().item()}
    result["leak"] = leak[:3].max().item()
    for index, name in enumerate(REACH):
        result[f"reach_{name}"], result[f"ceiling_{name}"] = reach[index].item(), ceiling[index].item()
    result |= {f"leak_{name}": value for name, value in zip(POSE_NAMES, leak.tolist(), strict=True)}
    return result


def _gradient_energy(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels, (B,)."""
    across = (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))
    return across + (image[..., 1:, :] - image[..., :-1, :]).abs().mean((1, 2, 3))
