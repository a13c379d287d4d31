"""The backend ``torch``: plain PyTorch hooks around Hugging Face's own ``generate``."""

from .injector import TorchInjector

__all__ = ["TorchInjector"]
