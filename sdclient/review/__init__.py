"""The review page: a person goes through thousands of images by key, and draws masks on sources.

`serve_review` and `serve_drawing` serve it on this machine alone until Ctrl-C; needs the extra `curate`.
"""

from __future__ import annotations

from .serving import Reviewed, serve_drawing, serve_review

__all__ = ["Reviewed", "serve_drawing", "serve_review"]
