"""Stopping a run from outside: SIGINT and SIGTERM let the step finish and the state be saved."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

_log = logging.getLogger(__name__)


class Stopped(KeyboardInterrupt):
    """A signal ended the run after a finished and saved step. ``exit_code`` is what the shell gets."""

    def __init__(self, step: int, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(
            f"Stopped by {name} at step {step}; its state is saved, and the same command carries on."
        )
        self.exit_code = 128 + number


class Signals:
    """Notes the first signal as ``number`` (0: none yet) while the ``with`` block runs.

    A second one ends the program at once, but not under torchrun, which sends the same one again by itself.
    """

    def __init__(self, second_ends: bool) -> None:
        self.number = 0
        self._second_ends = second_ends
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _frame: object) -> None:
        _log.warning("%s: finishing the step and saving.", signal.Signals(number).name)
        self.number = number
        if self._second_ends:
            self.__exit__()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
