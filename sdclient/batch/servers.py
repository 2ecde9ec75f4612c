"""Servers of a run: read from a file, checked before the run, watched during it."""

import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..client.transport import Timeouts
from ..client.webui import WebUI
from ..errors import LossyFormat, SettingsError, WebUIError
from ..loras import find_loras
from ..sources.source import guess_native_px
from .run_file import RunSpec
from .settings import INPAINTING_NAMES, ImageParameters

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIRST_PROBE_S = 1.0
LONGEST_PROBE_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server that makes images."""

    name: str
    webui: WebUI
    weight: float = 1.0
    """Factor for the number of requests kept at it; a fast server takes more work anyway."""


class _ServerEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    name: str | None = None
    weight: float = Field(default=1.0, gt=0, le=16)
    user: str | None = None
    password: str | None = None


def load_servers(path: Path, *, timeouts: Timeouts | None = None) -> list[Server]:
    """Read `servers.toml`: one `[[server]]` table each, with `url` and optional `name`, `weight`, `user`, `password`.

    Raises:
        SettingsError: missing, not TOML, an unknown or missing key, or two servers with one name.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    tables = content.get("server")
    if not isinstance(tables, list) or not tables or set(content) != {"server"}:
        raise SettingsError(f"{path}: expected one [[server]] table a server, each with a url")
    servers = [_server(path, number, table, timeouts) for number, table in enumerate(tables, 1)]
    names = [server.name for server in servers]
    if len(set(names)) < len(names):
        raise SettingsError(f"{path}: two servers are called {max(names, key=names.count)!r}; name each once")
    return servers


def _server(path: Path, number: int, table: Any, timeouts: Timeouts | None) -> Server:
    try:
        entry = _ServerEntry.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: server {number}: {key}: {first['msg']}") from error
    auth = (entry.user, entry.password or "") if entry.user is not None else None
    webui = WebUI(entry.url, auth=auth, timeouts=timeouts)
    return Server(entry.name or webui.url, webui, entry.weight)


@dataclass(frozen=True)
class ServerStatus:
    """One server's row in the table of a running command."""

    name: str
    state: str
    """"working"; "starting"; or "away", "lost" or "left out", with the reason."""
    made: int
    """Images from this server in this run."""
    images_per_s: float
    """Since the run began."""
    waiting: int
    """Requests at the server."""
    errors: int


class ServerHealth:
    """Whether one server can work; shared by the threads that send to it.

    `probe` is a cheap call; if it raises a `WebUIError`, the server is not back yet. `clock` gives seconds, monotonic.
    """

    def __init__(self, name: str, probe: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._probe_call = probe
        self._clock = clock
        # Guards all fields below. Never held while the server is probed, so that no other thread waits for the network.
        self._changed = threading.Condition()
        self._begun = clock()
        self._away: WebUIError | None = None
        self._is_lost = False
        self._probe_s = FIRST_PROBE_S
        self._probing = False
        self._made = self._errors = self._waiting = 0

    @property
    def away(self) -> WebUIError | None:
        """Why the server was set aside; None while it works."""
        with self._changed:
            return self._away

    @property
    def is_lost(self) -> bool:
        """Whether the server will not come back."""
        with self._changed:
            return self._is_lost

    def request_started(self) -> None:
        """Count a request that is being sent."""
        with self._changed:
            self._waiting += 1

    def request_ended(self, made: int) -> None:
        """Count a request that has ended, and the images it gave; 0 counts as an error."""
        with self._changed:
            self._waiting -= 1
            self._made += made
            self._errors += made == 0

    def set_aside(self, error: WebUIError) -> None:
        """Send nothing to the server until a probe has succeeded."""
        with self._changed:
            self._away = error

    def lose(self, error: WebUIError) -> None:
        """Mark the server as lost: it will not come back."""
        with self._changed:
            self._away = error
            self._is_lost = True
            self._changed.notify_all()

    def wait_until_back(self, stopped: threading.Event) -> None:
        """Wait until the server works, is lost, or the run stops; one of the waiting threads probes it."""
        while not stopped.is_set():
            with self._changed:
                if self._away is None or self._is_lost:
                    return
                if self._probing:
                    self._changed.wait(timeout=FIRST_PROBE_S)
                    continue
                self._probing = True
                pause_s = self._probe_s
            back = not stopped.wait(pause_s) and self._probe()
            with self._changed:
                self._probing = False
                self._probe_s = FIRST_PROBE_S if back else min(2 * self._probe_s, LONGEST_PROBE_S)
                if back and not self._is_lost:
                    self._away = None
                self._changed.notify_all()

    def _probe(self) -> bool:
        try:
            self._probe_call()
        except WebUIError:
            return False
        return True

    def status(self) -> ServerStatus:
        """The server's row in the table."""
        with self._changed:
            seconds = max(self._clock() - self._begun, 1e-9)
            gone = "lost" if self._is_lost else "away"
            state = "working" if self._away is None else f"{gone}: {self._away}"
            return ServerStatus(self.name, state, self._made, self._made / seconds, self._waiting, self._errors)


_LOSSLESS_FORMAT = "png"


@dataclass(frozen=True)
class ServerFacts:
    """What the images of a run depend on at a server."""

    model: str
    """The checkpoint's name, without its hash."""
    native_px: int
    """Side of the square the model was trained on, guessed by its name."""
    joint_names: Mapping[tuple[str, str | None], str]
    """(sampler, scheduler) as the user wrote them -> both in one name, the same for every dialect."""
    lora_hashes: Mapping[str, str] = field(default_factory=dict)
    """Name of each LoRA in use -> hash of its weights, if its file contains one."""

    def identity(self, parameters: ImageParameters, run_seed: int) -> dict[str, Any]:
        """Everything that changes an image's pixels, spelled the same for every dialect."""
        plain = asdict(parameters)
        del plain["scheduler"]
        inpainting = plain.pop("inpainting")  # None is left out: image keys of runs without masks must not change
        return {
            **plain,
            **(inpainting or {}),
            "sampler": self.joint_names[parameters.sampler, parameters.scheduler],
            "native_px": parameters.native_px or self.native_px,
            "model": self.model,
            "seed": run_seed,
        }

    def describe_run(self, spec: RunSpec, *, with_masks: bool = False) -> dict[str, Any]:
        """The run's settings as stored with its output: those that change pixels, and no empty sections."""
        unused = {"batch_size"} if with_masks else {"batch_size", *INPAINTING_NAMES}
        kept = {name: value for name, value in spec.as_dict().items() if value not in ({}, []) and name not in unused}
        scheduler = kept.pop("scheduler", None)
        sampler = self.joint_names.get((str(kept["sampler"]), scheduler), kept["sampler"])
        return {**kept, "sampler": sampler, "native_px": kept["native_px"] or self.native_px, "model": self.model}


@dataclass(frozen=True)
class ServerCheck:
    """The facts of one server of several; `kind` is its product, for example Forge, and "" for a single server."""

    name: str
    kind: str
    facts: ServerFacts


def check_servers(
    servers: Sequence[Server],
    samplers: Sequence[tuple[str, str | None]],
    loras: Sequence[str] = (),
    *,
    allow_mixed: bool,
) -> ServerFacts:
    """Check each server, and that all would make the same images.

    With `allow_mixed` servers may have different models or dialects; each image's record names its server.

    Raises:
        SettingsError: servers differ, and `allow_mixed` is not set.
        WebUIError: a server cannot be reached, or cannot be used for the run.
    """
    checks = []
    for server in servers:
        kind = server.webui.kind.product.value if len(servers) > 1 else ""
        checks.append(ServerCheck(server.name, kind, check_server(server.webui, samplers, loras)))
    return combine_checks(checks, allow_mixed=allow_mixed)


def combine_checks(checks: Sequence[ServerCheck], *, allow_mixed: bool) -> ServerFacts:
    """The facts of a run out of those of its servers, at least one.

    Raises:
        SettingsError: servers differ, and `allow_mixed` is not set.
    """
    first = checks[0]
    if not allow_mixed:
        for check in checks[1:]:
            compared = (("model", check.facts.model, first.facts.model), ("kind", check.kind, first.kind))
            for what, here, there in compared:
                if here != there:
                    raise SettingsError(
                        f"{check.name} has {what} {here!r}, {first.name} has {there!r}; "
                        "make them alike, or add --allow-mixed"
                    )
            for name, here in check.facts.lora_hashes.items():
                there = first.facts.lora_hashes.get(name, here)
                if here != there:
                    raise SettingsError(
                        f"{check.name} has another LoRA {name!r} (hash {here[:12]}) than {first.name} ({there[:12]}); "
                        "copy the same file to both, or add --allow-mixed"
                    )
    return replace(first.facts, model=" | ".join(sorted({check.facts.model for check in checks})))


def check_server(webui: WebUI, samplers: Sequence[tuple[str, str | None]], loras: Sequence[str] = ()) -> ServerFacts:
    """Find what would ruin a long run before it starts.

    Raises:
        LossyFormat: the server sends images in a format that loses detail.
        UnknownSetting: the server lacks a sampler, a schedule or a LoRA.
        WebUIError: the server cannot be reached, or is not ready.
    """
    options = webui.options()
    if options.samples_format.lower() != _LOSSLESS_FORMAT:
        raise LossyFormat(
            f"{webui.url}: its option samples_format is {options.samples_format!r}, which may lose detail; "
            "set it to 'png' (Settings > Saving images/grids > File format for images)"
        )
    joint = {pair: " ".join(part for part in webui.dialect.resolve(*pair) if part) for pair in samplers}
    model = checkpoint_name(options.sd_model_checkpoint or "unknown")
    hashes = find_loras(loras, webui.loras, webui.refresh_loras, server=webui.url)
    return ServerFacts(model, guess_native_px(model), joint, hashes)


def checkpoint_name(title: str) -> str:
    """A checkpoint's name without file ending and hash; the server adds the hash to the title once it is computed."""
    bare = re.sub(r"\s*\[[0-9a-fA-F]+\]$", "", title)
    return re.sub(r"\.(safetensors|ckpt)$", "", bare)
