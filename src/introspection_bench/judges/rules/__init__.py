"""The rules judge: offline, deterministic, without a model; every verdict says which places decided."""

from .judge import FOLLOWED, RulesJudge

__all__ = ["FOLLOWED", "RulesJudge"]
