"""A WebUI for tests of your own scripts: the embedded server in this process, with planned faults.

In a `conftest.py`::

    from sdclient.testing import webui_server  # noqa: F401

Then a test takes `webui_server` (see `WebUIServer`), passes `webui_server.url` to the code under test, and plans
faults with `webui_server.faults` (see `FaultPlan`). Without pytest, use the context manager `serve_webui`.

It needs pytest and the extra `serve`. The images come from classical image processing, not from Stable Diffusion.
"""

from .fault_plan import FaultPlan, Held
from .fault_proxy import Job, SeenRequest
from .server import WebUIServer, serve_webui, webui_server

__all__ = ["FaultPlan", "Held", "Job", "SeenRequest", "WebUIServer", "serve_webui", "webui_server"]
