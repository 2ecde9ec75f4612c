"""The private foundation of `sdclient`, `trainer` and `generator`: nothing in it is meant for users."""

__version__ = "0.1.0"
"""The version of the distribution, read by the build."""

__all__ = ()
