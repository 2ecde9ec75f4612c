"""The user's photographs and the numbered source images made of them."""

from .source import Source, discover

__all__ = ["Source", "discover"]
