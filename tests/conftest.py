"""What every test runs under: one torch thread, no hub; and which marks are skipped where."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
MEDIA = Path(os.environ.get("VASA_MEDIA", ROOT.parent / "shared" / "media"))

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks say what a test needs; where that is missing it is skipped with the reason."""
    without_media = pytest.mark.skip(
        reason=f"no real media at {MEDIA.name}/ beside the project (VASA_MEDIA names it)"
    )
    without_gpu = pytest.mark.skip(reason="no CUDA device here")
    for item in items:
        if "media" in item.keywords and not MEDIA.is_dir():
            item.add_marker(without_media)
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(without_gpu)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real portraits, clips and speech. Tests that use it are marked ``media``."""
    return MEDIA


@pytest.fixture
def root() -> Path:
    """The project's folder."""
    return ROOT
