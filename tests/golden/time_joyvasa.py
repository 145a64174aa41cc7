"""How long JoyVASA's denoiser takes for one guided step, as published and folded, on one thread:
``python tests/golden/time_joyvasa.py``.

CPU time of the thread, least and median of interleaved rounds, so that other processes matter little.
"""

from __future__ import annotations

import statistics
import time

import torch
from adapter_joyvasa import J
from make_weights import fill_module

from vasa.motion.joyvasa_folded import window_estimates

ROUNDS = 40


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    model = J(73, 10, "legacy").eval()
    fill_module(model.denoising_net, "J")
    given = (torch.randn(1, 100, 256), *model.start(1))
    x_t = torch.randn(1, 100, 73)
    steps = {
        name: window_estimates(model, *given, plain=plain)
        for name, plain in (("published", True), ("folded", False))
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            started = time.thread_time()
            step(x_t, 25)
            taken[name].append((time.thread_time() - started) * 1e3)
    for name, times in taken.items():
        print(f"{name:9s} {min(times):6.1f} ms least, {statistics.median(times):6.1f} ms median")
    for word, of in (("least", min), ("median", statistics.median)):
        print(f"folded / published, {word}: {of(taken['folded']) / of(taken['published']):.2f}")


if __name__ == "__main__":
    main()
