"""Where each image came from and what was decided about it: `manifest.sqlite` and the CSV tables beside it.

This is the one part of `sdclient` that `trainer` imports; it needs the standard library and `sdcore.files` alone.
"""

from ..errors import ManifestError
from .curation import Curation
from .database import MANIFEST_NAME, ImageRecord, Manifest, Parent
from .tables import read_exported

__all__ = ["MANIFEST_NAME", "Curation", "ImageRecord", "Manifest", "ManifestError", "Parent", "read_exported"]
