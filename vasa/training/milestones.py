"""What the first process does between steps while the others wait: logging, validation, previews, exports and
saving, each every so many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vasa.training.config import LoopConfig
from vasa.training.phase import Phase
from vasa.training.progress import Progress
from vasa.training.state import save_state, state_tensors
from vasa.training.verdict import Best, Canaries, DoomedError

Averages = Mapping[str, nn.Module]
Export = Callable[[int, Averages], Path | None]
Preview = Callable[[int, Averages], np.ndarray | None]
Validate = Callable[[int, Averages], Mapping[str, float]]


def due(done: int, every: int, cfg: LoopConfig) -> bool:
    """Whether something that happens every so many steps (0: never) does so now; always at the last."""
    return every > 0 and (done == cfg.steps or done % every == 0)


def is_milestone(done: int, cfg: LoopConfig) -> bool:
    """Whether anything is due after ``done`` steps."""
    often = (cfg.log_every, cfg.validate_every, cfg.preview_every, cfg.save_every)
    return any(due(done, every, cfg) for every in often)


@dataclass(slots=True)
class Milestones:
    """The callables are those of ``loop.train``; ``best`` is None where no metric chooses."""

    cfg: LoopConfig
    run_dir: Path
    phases: Sequence[Phase]
    averages: Averages
    config: Mapping[str, Any]
    progress: Progress
    best: Best | None
    canaries: Canaries
    export: Export
    preview: Preview | None
    validate: Validate | None

    @torch.no_grad()
    def reach(self, done: int, stopping: bool, entry: Mapping[str, float], seconds: float) -> None:
        """All that is due after ``done`` steps; ``stopping`` only logs and saves.

        entry: what to log of the steps since the last entry, which took ``seconds``; empty when that is not
        due. Raises: DoomedError when a canary stops the run, once saved.
        """
        cfg, sentence = self.cfg, ""
        if entry:
            self.progress.losses(done, entry, seconds)
            sentence = self.canaries.at_entry(done, entry)
        if self.validate and due(done, cfg.validate_every, cfg) and not stopping:
            sentence = self._validate(done, self.validate) or sentence
        if self.preview and due(done, cfg.preview_every, cfg) and not stopping:
            image = self.preview(done, self.averages)
            if image is not None:
                self.progress.preview(done, image)
        if stopping or sentence or due(done, cfg.save_every, cfg):
            # Last, so that everything up to a saved step has been told and exported.
            self.export(done, self.averages)
            tensors = state_tensors(self.phases, self.averages)
            save_state(self.run_dir, done, tensors, self.config, cfg.keep_states)
        if sentence:
            raise DoomedError(sentence)

    def _validate(self, done: int, validate: Validate) -> str:
        """Why the run should stop here; mostly empty."""
        values = validate(done, self.averages)
        self.progress.validation(done, values)
        if self.best:
            self.best.offer(done, values, self.export(done, self.averages))
        return self.canaries.at_validation(done, values)
