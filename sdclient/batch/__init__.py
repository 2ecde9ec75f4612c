"""Runs a plan against a server; started again, it makes only what is missing."""

from __future__ import annotations

from .runner import BatchRunner
from .settings import GenerationSettings

__all__ = ["BatchRunner", "GenerationSettings"]
