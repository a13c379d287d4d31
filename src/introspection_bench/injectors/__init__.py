"""Backends that run a model and steer it: the port, the registry, and one module per backend."""

from .base import Completion, Injector, ModelInfo, Request
from .registry import BUILTIN, open_injector

__all__ = ["BUILTIN", "Completion", "Injector", "ModelInfo", "Request", "open_injector"]
