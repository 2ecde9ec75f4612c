"""Runs a plan against one or many servers; started again, it makes only what is missing."""

from .run_file import RunSpec, load_run_file
from .runner import BatchRunner, RunStart
from .servers import Server, ServerStatus, load_servers
from .settings import GenerateOptions, GenerationSettings

__all__ = [
    "BatchRunner",
    "GenerateOptions",
    "GenerationSettings",
    "RunSpec",
    "RunStart",
    "Server",
    "ServerStatus",
    "load_run_file",
    "load_servers",
]
