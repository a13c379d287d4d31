"""The backend ``nnsight``: the same steering as traces, on local models and on NDIF's."""

from .injector import NnsightInjector

__all__ = ["NnsightInjector"]
