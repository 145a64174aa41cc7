"""As adapter.py, by the optimised graphs of W and G:

python tests/golden/check_golden.py tests/golden/adapter_optimised.py --only W,G,E2E
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

from adapter import *  # noqa: F403
from adapter import G as PlainG

from vasa.face.keypoints.optimised import OptimisedGenerator, OptimisedWarping


def run_W(w: nn.Module, feature: Tensor, kp_source: Tensor, kp_driving: Tensor) -> dict[str, Tensor]:  # noqa: N802
    optimised = OptimisedWarping(w)
    out, motion = optimised(optimised.source(feature, kp_source), kp_driving)
    return {
        "out": out.permute(0, 3, 1, 2),
        "deformation": motion.deformation,
        "occlusion_map": motion.occlusion,
    }


class G(PlainG):
    """Filled under the published names, run by the optimised graph."""

    def forward(self, feature: Tensor) -> Tensor:
        return OptimisedGenerator(self)(feature.permute(0, 2, 3, 1).contiguous())
