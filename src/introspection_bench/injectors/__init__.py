"""Backends that run a model and steer it: the port, the registry, and one module per backend."""

from .base import Injector, ModelInfo
from .registry import BUILTIN, open_injector
from .requests import Completion, Request

__all__ = ["BUILTIN", "Completion", "Injector", "ModelInfo", "Request", "open_injector"]
