"""A fake Slurm on PATH: sbatch runs a job at once, task by task, unless what it depends on has failed.

The command itself is real: what stands on PATH as introspection-bench hands its words to the test's own process, which
has a model's libraries loaded already.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from cli_samples import command

SBATCH = """#!{python}
import os, subprocess, sys
from pathlib import Path
jobs = Path({folder!r}) / "jobs"
jobs.mkdir(exist_ok=True)
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:-1])
(script,) = [word for word in sys.argv[1:] if not word.startswith("--")]
number = str(len(list(jobs.iterdir())) + 101)
kind, _, before = options.get("dependency", "").partition(":")
assert kind in ("", "afterok"), kind
ended = "0" if not before else (jobs / before).read_text()
if ended == "0":
    first, _, last = options.get("array", "0").partition("-")
    for task in range(int(first), int(last or first) + 1):
        mine = {{**os.environ, "SLURM_JOB_ID": number}}
        if "array" in options:
            mine["SLURM_ARRAY_TASK_ID"] = str(task)
        if subprocess.run(["bash", script], env=mine, stdout=sys.stderr).returncode:
            ended = "1"
(jobs / number).write_text(ended)
print(f"{{number}};cluster" if "parsable" in options else f"Submitted batch job {{number}}")
"""
SRUN = """#!/bin/sh
exec "$@"
"""
COMMAND = """#!{python}
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
asked.sendall(json.dumps([os.getcwd(), *sys.argv[1:]]).encode() + b"\\n")
said = json.loads(asked.makefile().readline())
sys.stdout.write(said[1])
sys.stderr.write(said[2])
sys.exit(said[0])
"""


class FakeSlurm:
    """Runs a script with sbatch, srun and introspection-bench of ours first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder / "s")
        for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("introspection-bench", COMMAND)):
            made = folder / "bin" / name
            made.parent.mkdir(exist_ok=True)
            made.write_text(text.format(python=sys.executable, folder=str(folder), address=self.address))
            made.chmod(0o755)
        #: The words of each command that was run.
        self.commands: list[list[str]] = []

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a script to its end, and return how it ended."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        with socket.socket(socket.AF_UNIX) as server, (self.folder / "out").open("w+") as out:
            server.bind(self.address)
            server.listen()
            server.settimeout(0.05)
            running = subprocess.Popen(words, cwd=cwd, env={**os.environ, "PATH": path}, stdout=out, stderr=out)
            while running.poll() is None:
                try:
                    self._serve(server.accept()[0])
                except TimeoutError:
                    continue
            os.unlink(self.address)
            out.seek(0)
            return subprocess.CompletedProcess(words, running.returncode, out.read())

    def _serve(self, asked: socket.socket) -> None:
        asked.settimeout(60)
        with asked, asked.makefile() as lines:
            cwd, *words = json.loads(lines.readline())
            self.commands.append(words)
            done = command(*words, cwd=cwd, check=False)
            asked.sendall(json.dumps([done.returncode, done.stdout, done.stderr]).encode() + b"\n")
