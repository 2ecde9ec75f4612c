"""The review page, where a person decides about thousands of images by keyboard and draws masks on sources.

`serve_review` and `serve_drawing` serve it on this machine alone until Ctrl-C. Needs the extra `curate`.
"""

from .serving import Reviewed, serve_drawing, serve_review

__all__ = ["Reviewed", "serve_drawing", "serve_review"]
