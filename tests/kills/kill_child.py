"""Stages of a run in a process that dies at a chosen point of its own; test_kills.py starts it by fork server.

Points are announced by the process itself: every call that changes files (as Python's audit events have it), every
twenty instructions of SQLite's machine, or a byte of a file, at which the write that reaches it is the process's last.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

import introspection_bench.judges.rules  # noqa: F401  # imported by the fork server once, for all children
from introspection_bench.concepts import Concept, ConceptSet
from introspection_bench.injection import Receipt
from introspection_bench.injectors import Completion, Injector, ModelInfo, Request
from introspection_bench.interop import read_results, write_jsonl
from introspection_bench.report import write_report
from introspection_bench.sweep import Design, Injected, Store, Sweep, Unsteered, import_results, judge_run
from introspection_bench.trials import Reply
from introspection_bench.vectors import ConceptVector, Provenance

CONCEPTS = ConceptSet("tiny", [Concept("Oceans", word="Oceans"), Concept("Bread", word="Bread")])
REPLIES = ["No, I do not detect anything.", "Yes, I detect an injected thought about bread.", "The sea, the sea. " * 40]
_CALLS = {"os.rename", "os.remove", "os.mkdir", "os.truncate", "os.chmod", "os.link", "fcntl.flock", "sqlite3.connect"}


class FakeInjector(Injector):
    """Answers by the seed, with honest receipts, and runs no model."""

    name = "fake"

    def __init__(self, folder: Path) -> None:
        # Not by AutoTokenizer, which would import the model's code in every child.
        self._tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        self._tokenizer.chat_template = (folder / "chat_template.jinja").read_text()

    @classmethod
    def open(cls, model: Any) -> FakeInjector:
        return cls(model)

    @property
    def model(self) -> ModelInfo:
        return ModelInfo(name="fake", fingerprint="f" * 64, n_layers=4, hidden_size=8, dtype="float32")

    @property
    def tokenizer(self) -> Any:
        return self._tokenizer

    def _generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for index, request in enumerate(requests):
            reply = Reply(REPLIES[request.seed % len(REPLIES)], tuple(range(1 + request.seed % 50)), "stop")
            receipts = [
                Receipt(*s.positions.expected(len(reply.token_ids)), s.dose.magnitude, s.dose.magnitude)
                for s in request.steers
            ]
            yield Completion(index, reply, receipts)

    def _capture(self, prompts: Any, layers: Any) -> Any:
        raise NotImplementedError


def sweep(folder: Path, directory: Path) -> Sweep:
    rng = np.random.default_rng(0)
    vectors = [
        ConceptVector(
            rng.standard_normal(8), c.name, 1, Provenance("word", "fake", "f" * 64, "p" * 64, 2, -1, 1.0, None)
        )
        for c in CONCEPTS
    ]
    design = Design(
        concepts=CONCEPTS, vectors=vectors, layers=[1], doses=["0.5 residual"], arms=[Unsteered(6), Injected(6)]
    )
    return Sweep(design, FakeInjector(folder), directory)


def stage(name: str, folder: Path, directory: Path, tell: Any) -> None:
    """Do one stage; ``tell`` is called with the key of whatever is said to be recorded."""
    if name == "run":
        sweep(folder, directory).generate(lambda record: tell(record.key.digest))
    elif name == "judge":
        with Store.open(directory) as store:
            judge_run(store, "rules", check=False, on_verdict=lambda verdict: tell("verdict"))
    elif name == "import":
        with import_results([read_results(folder.parent / "all.jsonl")], directory, CONCEPTS) as store:
            tell(str(len(store.recorded())))
    else:
        found = read_results(directory)
        write_jsonl(found.records, directory / "all.jsonl")
        write_report(found, directory / "report.html")


def in_child(name: str, folder: Path, directory: Path, log: Path, kill: tuple[str, int]) -> None:
    """Do one stage and die at ``kill``: ("point", n), ("byte", n) or ("never", 0); the log gets what was told."""
    told = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    how, number = kill
    passed = 0

    def point() -> int:
        nonlocal passed
        passed += 1
        if how == "point" and passed == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def on_audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in _CALLS:
            point()

    connect = sqlite3.connect

    def announcing(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_progress_handler(point, 20)
        return connection

    if how == "byte":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
    else:
        sys.addaudithook(on_audit)
        sqlite3.connect = announcing
    stage(name, folder, directory, lambda what: os.write(told, f"{what}\n".encode()))
    how = "never"
    os.write(told, f"points {passed}\n".encode())
