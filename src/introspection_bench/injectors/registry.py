"""Injectors by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..boundaries import check_arguments
from ..errors import ModelError, PluginError, explain
from ..model_names import resolve_name
from ..plugins import Lazy, check_name, resolve
from .base import Injector

GROUP = "introspection_bench.injectors"

#: The built-in injectors. ``package`` is the distribution whose version is shown by ``introspection-bench backends``.
BUILTIN: Mapping[str, Lazy] = MappingProxyType(
    {
        "torch": Lazy("introspection_bench.injectors.torch", "TorchInjector", package="torch"),
        "nnsight": Lazy("introspection_bench.injectors.nnsight", "NnsightInjector", "nnsight", "nnsight"),
        "vllm": Lazy("introspection_bench.injectors.vllm.injector", "VllmInjector", "vllm", "vllm"),
        "vllm-lens": Lazy(
            "introspection_bench.injectors.vllm_lens.injector", "VllmLensInjector", "vllm-lens", "vllm-lens"
        ),
    }
)


def open_injector(backend: str | type[Injector] | Injector, model: Any = None, /, **options: Any) -> Injector:
    """Return an injector: by built-in or plugin name, by class, or an instance as it is.

    ``model`` and ``options`` go to the class's ``open``, whose explicit signature rejects unknown options. The names
    "demo" and "demo+introspector" (any adapter of the package), and ``<base>+<path>.safetensors`` with an adapter of
    yours, stand for a folder that is made on first use (:func:`~introspection_bench.model_names.resolve_name`).
    Raises :class:`~introspection_bench.errors.UnknownNameError`,
    :class:`~introspection_bench.errors.BackendUnavailableError` (naming the extra to install) and whatever the
    backend raises for the model.
    """
    if isinstance(backend, Injector):
        if model is not None or options:
            raise PluginError(
                explain("backend", required="no model or options beside an instance", got=options, hint="Drop them.")
            )
        return backend
    if isinstance(backend, str) and model is None:  # most likely a model's name alone
        check_name(GROUP, BUILTIN, backend, "backend, before the model, as in open_injector('torch', 'demo')")
    found = resolve(GROUP, BUILTIN, backend) if isinstance(backend, str) else backend
    if not (isinstance(found, type) and issubclass(found, Injector)):
        raise PluginError(
            explain("backend", required="a subclass of Injector", got=found, hint="See the docs' page backends.")
        )
    check_arguments(found.open, inspect.signature(found.open), options, ModelError)
    try:
        opened = found.open(resolve_name(model) if isinstance(model, str) else model, **options)
    except TypeError as error:
        if "keyword argument" not in str(error) or "open()" not in str(error):
            raise
        raise PluginError(
            explain(
                f"{found.name} options",
                required="options of its open()",
                got=str(error),
                hint=found.open.__doc__ or "See docs.",
            )
        ) from error
    with suppress(AttributeError):  # a plugin's injector may be frozen; its options then count as not known
        opened.opened_with = MappingProxyType(options)
        opened.opened_of = str(model) if isinstance(model, str | Path) else None
    return opened
