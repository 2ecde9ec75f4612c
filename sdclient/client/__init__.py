"""Speaks to one WebUI: every call in one class, each generating call watched and its reply checked."""

from .generation_job import CallOptions, GeneratedImage, GenerationResult, JobProgress
from .transport import RetryPolicy, Timeouts
from .webui import WebUI

__all__ = ["CallOptions", "GeneratedImage", "GenerationResult", "JobProgress", "RetryPolicy", "Timeouts", "WebUI"]
