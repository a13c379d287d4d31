"""The command that says what a bug report needs: info."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

import typer

from ..errors import IntrospectionBenchError
from . import console

#: Whose versions alter what a run does, or whether it runs.
LIBRARIES = (
    "torch", "transformers", "tokenizers", "safetensors", "accelerate", "gguf", "vllm", "vllm-lens", "nnsight", "ray",
    "anthropic", "openai", "inspect-ai", "huggingface_hub", "numpy", "scipy", "pandas", "pyarrow", "attrs", "cattrs",
    "typer", "rich",
)  # fmt: skip
#: Variables that hold keys or addresses; whether they are set is told, never what they hold.
SECRETS = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "NDIF_API_KEY", "HF_TOKEN",
)  # fmt: skip
#: Variables that alter where a model comes from and what it runs on.
SETTINGS = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "INTROSPECTION_BENCH_CACHE")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Example: `introspection-bench info > report.txt`")(info)


def info() -> None:
    """Print what a bug report needs: versions, machine, backends, plugins, and which keys are set; no key is shown."""
    from .listing import BACKEND_COLUMNS, backend_rows

    for title, lines in (
        ("", _package()),
        ("Libraries", _libraries()),
        ("Devices", _devices()),
        ("Plugins", _plugins()),
        ("Environment", _environment()),
    ):
        if title:
            console.tell(f"\n{title}")
        for line in lines:
            console.tell(line)
    console.tell("")
    try:
        console.table("Backends and judges", BACKEND_COLUMNS, backend_rows())
    except IntrospectionBenchError as error:  # two plugins of one name may be what the report is about
        console.tell(f"Backends and judges: {error}")


def _package() -> Iterator[str]:
    from .. import __version__
    from ..demo_model import cache_folder
    from ..errors import ModelNotFoundError
    from ..sweep.sessions import this_process

    code = this_process("other").versions["code"]  # a working copy changes without a new version
    yield f"introspection-bench {__version__}, code {code}, in {_at_home(Path(__file__).parents[1])}"
    yield f"Python {platform.python_version()} ({platform.python_implementation()}) in {_at_home(Path(sys.prefix))}"
    yield f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} CPUs"
    try:
        cache = cache_folder()
        yield f"cache {_at_home(cache)} ({'there' if cache.is_dir() else 'not made yet'})"
    except ModelNotFoundError as error:
        yield f"cache: {error}"
    yield f"stdout {sys.stdout.encoding}, {console.out.width} columns, terminal: {_yes(sys.stdout.isatty())}"


def _at_home(path: Path) -> str:
    # Whoever pastes it need not tell the name of their account.
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # elsewhere, or an account without a home
        return str(path)


def _libraries() -> Iterator[str]:
    found, missing = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield ", ".join(found)
    yield f"not installed: {', '.join(missing) or 'none'}"


def _devices() -> Iterator[str]:
    import torch

    yield f"CUDA {torch.version.cuda or 'not built in'}, available: {_yes(torch.cuda.is_available())}"
    for n in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found = torch.cuda.get_device_properties(n)
        yield f"GPU {n}: {found.name}, {found.total_memory / 2**30:.0f} GiB, capability {found.major}.{found.minor}"
    yield f"MPS available: {_yes(torch.backends.mps.is_available())}"
    yield f"CPU threads {torch.get_num_threads()}"


def _plugins() -> Iterator[str]:
    found = [
        f"{point.group.removeprefix('introspection_bench.')} {point.name} = {point.value} ({_of(point.dist)})"
        for group in entry_points().groups
        if group.startswith("introspection_bench.")
        for point in entry_points(group=group)
    ]
    yield from sorted(found) or ["none"]


def _of(distribution: object) -> str:
    return f"{getattr(distribution, 'name', 'unknown')} {getattr(distribution, 'version', '')}".strip()


def _environment() -> Iterator[str]:
    for name in SECRETS:
        yield f"{name} set: {_yes(bool(os.environ.get(name)))}"
    for name in SETTINGS:
        yield f"{name}: {_at_home(Path(os.environ[name])) if os.environ.get(name) else 'not set'}"


def _yes(answer: bool) -> str:  # the answer itself
    return "yes" if answer else "no"
