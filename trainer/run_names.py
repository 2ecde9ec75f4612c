"""What the weights in a run folder are called; light, so that nothing heavy loads to look for them."""

from __future__ import annotations

BEST_NAME = "best.pt"
LAST_NAME = "last.pt"
RESUME_NAME = "resume.pt"
"""There while a training is unfinished."""
