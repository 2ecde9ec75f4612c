"""The embedded WebUI for commands that generate."""

from __future__ import annotations

from sdclient.testing import webui_server as webui_server
