"""Pools of workers that generate a run's trials on other processes and machines."""

from .ray_pool import RayPool

__all__ = ["RayPool"]
