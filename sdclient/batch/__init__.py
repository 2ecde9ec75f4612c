"""Runs a plan against one or many servers; started again, it makes only what is missing."""

from __future__ import annotations

from .runner import BatchRunner
from .servers import Server, ServerStatus, load_servers
from .settings import GenerationSettings

__all__ = ["BatchRunner", "GenerationSettings", "Server", "ServerStatus", "load_servers"]
