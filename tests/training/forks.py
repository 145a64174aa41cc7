"""Processes that train: one interpreter imports torch, and every process a test asks for is a fork of it.

A fork costs milliseconds, where an interpreter of its own costs seconds of importing. The parent never runs a
backward pass, after which torch refuses to fork.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


class Forks:
    """``run`` calls functions of a test module in new processes, which may be ranks of one run."""

    def __init__(self, module: str, folder: Path) -> None:
        self._folder, self._number = folder, 0
        command = [sys.executable, __file__, module]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, function: str, *arguments: Any, world: int = 1) -> list[tuple[int, str]]:
        """Exit code (below 0: the signal that killed it) and standard error of each process."""
        self._number += 1
        outputs = [str(self._folder / f"{self._number}.{rank}.txt") for rank in range(world)]
        call = {"function": function, "arguments": [str(a) for a in arguments], "outputs": outputs}
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(call) + "\n")
        self._server.stdin.flush()
        codes = json.loads(self._server.stdout.readline())
        return [(code, Path(output).read_text()) for code, output in zip(codes, outputs, strict=True)]

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(30)


def _serve(module: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    functions = __import__(module)
    import accelerate  # noqa: F401  else every process would import these
    import torch._dynamo  # noqa: F401  optimisers do, for seconds, at their first step

    from vasa.checkpoint import versions

    versions()  # asks git, once

    for line in sys.stdin:
        call = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = []
        for rank, output in enumerate(call["outputs"]):
            pids.append(os.fork())
            if pids[-1] == 0:
                _work(getattr(functions, call["function"]), call, rank, output, port)
                return
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        sys.stdout.write(json.dumps(codes) + "\n")
        sys.stdout.flush()


def _work(function: Any, call: dict[str, Any], rank: int, output: str, port: int) -> None:
    """Ends as a script does: an exception is told, exit code 1, and what is registered for the exit runs."""
    world = len(call["outputs"])
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 2)
    os.dup2(2, 1)
    try:
        function(*call["arguments"])
    except BaseException as error:
        traceback.print_exc()
        raise SystemExit(getattr(error, "exit_code", 1)) from None


if __name__ == "__main__":
    _serve(sys.argv[1])
