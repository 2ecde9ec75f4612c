"""Which WebUI answers, from what it says about itself.

Facts, and where they were read (repository, file, commit):

- A1111 took sampler and schedule apart in 1.9.0 and lists schedules since 1.9.1 (AUTOMATIC1111/stable-diffusion-webui,
  CHANGELOG.md and pull request 15577, which also shows 1.9's six schedules). Its flags hold `nowebui` and `api_auth`
  (recorded from 1.10.1).
- Forge and its descendants have the flag `forge_ref_a1111_home` (lllyasviel/stable-diffusion-webui-forge,
  modules/cmd_args.py, 001f2305). Since August 2024 Forge has the hidden options `forge_inference_memory` and others
  (modules_forge/shared_options.py, 02ffb046), later `forge_additional_modules` (issue 2264), and `/sd-modules` in
  place of `/sd-vae` (modules/api/api.py, 0bdbe79b).
- reForge has that flag too, keeps `/sd-vae` and `/schedulers` (Panchovix/stable-diffusion-webui-reForge,
  modules/api/api.py, 440a57e4), and alone has the option `sd_sampling` (modules/shared_options.py, 025b62dc).
- SD.Next keeps the schedule in the option `schedulers_sigma` (vladmandic/sdnext, modules/sd_samplers_diffusers.py,
  046840c8), has the flags `auth` and `auth_file` and answers `/sdapi/v1/version` (modules/api/api.py, 05659097) with
  `"app": "sd.next"`, the commit as `hash` or `commit` (modules/api/server.py, 0e76332b, from installer.py or
  modules/shared.py). Its `/schedulers` lists samplers, with a class and no label (modules/api/models.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .dialects import AUTOMATIC, SDNEXT_SCHEDULE_OPTION, SDNEXT_SCHEDULES
from .errors import RequestRejected, ServerFault, UnexpectedReply
from .models import Scheduler
from .serve.words import NOT_STABLE_DIFFUSION

Ask = Callable[[str], Any]
"""GET a path of the server and give the reply's JSON; raises as `Connection.send` does."""

_MODULES_OPTION = "forge_additional_modules"
_DOES_NOT_SAY = (RequestRejected, ServerFault, UnexpectedReply)
"""How a working server answers a question that it does not know."""

_SCHEDULES_OF_1_9_0 = tuple(
    Scheduler(name=label.lower().replace(" ", "_"), label=label)
    for label in (AUTOMATIC, "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform")
)


class Product(Enum):
    """The programs that speak `/sdapi/v1`."""

    A1111 = "A1111"
    FORGE = "Forge"
    REFORGE = "reForge"
    SDNEXT = "SD.Next"
    EMBEDDED = "embedded (not Stable Diffusion)"
    """The server of `sdclient serve`."""
    UNKNOWN = "unknown, treated as A1111"


@dataclass(frozen=True)
class ServerKind:
    """What a server was recognised as.

    Attributes:
        product: which program.
        recognised_by: the facts that decided it, in words.
        schedulers: the schedules it knows; None for one from before samplers and schedules were apart.
        takes_modules: VAE and text encoders are given together, as `forge_additional_modules`, not as `sd_vae`.
    """

    product: Product
    recognised_by: tuple[str, ...]
    schedulers: tuple[Scheduler, ...] | None
    takes_modules: bool = False

    @property
    def label(self) -> str:
        """The program's name; of A1111 also on which side of 1.9 it is."""
        if self.product is not Product.A1111:
            return str(self.product.value)
        return "A1111 < 1.9" if self.schedulers is None else "A1111 >= 1.9"

    @property
    def schedule_option(self) -> str | None:
        """The option that holds the schedule; None where it is a field of the request or part of the sampler."""
        return SDNEXT_SCHEDULE_OPTION if self.product is Product.SDNEXT else None


@dataclass(frozen=True)
class ServerVersion:
    """The version a server gives.

    Attributes:
        version: as the program writes it: "1.10.1", or a date for SD.Next.
        commit: of its source, when it says.
    """

    version: str | None = None
    commit: str | None = None


def detect(ask: Ask) -> ServerKind:
    """Recognise a server with one to five small questions.

    A working server is never refused: what cannot be told is `Product.UNKNOWN`.

    Raises:
        WebUIError: the server is not there, not ready, or refuses the credentials.
    """
    options = _mapping(ask, "/sdapi/v1/options")
    product, fact = _by_options(options) or _by_flags(ask) or _by_version(ask) or (Product.UNKNOWN, _UNTOLD)
    if product is Product.SDNEXT:
        return ServerKind(product, (fact,), SDNEXT_SCHEDULES)
    schedulers, how = _schedules(ask)
    if product is Product.FORGE and schedulers is not None and fact == _FORGE_FLAG:
        product, fact = Product.REFORGE, f"{fact}, its options none of Forge's"
    takes_modules = product is Product.FORGE and _MODULES_OPTION in options
    return ServerKind(product, (fact, how), schedulers, takes_modules)


def find_version(ask: Ask, product: Product) -> ServerVersion:
    """The version, where the server tells; an empty one where it does not (A1111 started with `--nowebui`).

    A1111, Forge and reForge tell it only in `/internal/sysinfo`, which takes them some seconds.

    Raises:
        WebUIError: the server is not there, not ready, or refuses the credentials.
    """
    if product is Product.SDNEXT:
        told = _mapping(ask, "/sdapi/v1/version")
        return ServerVersion(_text(told.get("updated")), _text(told.get("commit") or told.get("hash")))
    if product is Product.EMBEDDED:
        return ServerVersion(_text(_part(_mapping(ask, "/openapi.json"), "info").get("version")))
    told = _mapping(ask, "/internal/sysinfo")
    return ServerVersion(_text(told.get("Version")), _text(told.get("Commit")))


_FORGE_FLAG = "its flags hold forge_ref_a1111_home"
_UNTOLD = "neither its options nor its flags are those of a known program"


def _by_options(options: Mapping[str, Any]) -> tuple[Product, str] | None:
    # Without the hash in brackets.
    model = str(options.get("sd_model_checkpoint") or "").partition(" [")[0]
    if model.endswith(NOT_STABLE_DIFFUSION):
        return Product.EMBEDDED, f"its model is {model}"
    marks = (
        (Product.SDNEXT, SDNEXT_SCHEDULE_OPTION),
        (Product.REFORGE, "sd_sampling"),
        (Product.FORGE, _MODULES_OPTION),
        (Product.FORGE, "forge_inference_memory"),
    )
    return next(((product, f"its options hold {mark}") for product, mark in marks if mark in options), None)


def _by_flags(ask: Ask) -> tuple[Product, str] | None:
    flags = _mapping(ask, "/sdapi/v1/cmd-flags")
    if "forge_ref_a1111_home" in flags:
        return Product.FORGE, _FORGE_FLAG
    for product, marks in ((Product.SDNEXT, ("auth", "auth_file")), (Product.A1111, ("nowebui", "api_auth"))):
        if all(mark in flags for mark in marks):
            return product, f"its flags hold {' and '.join(marks)}"
    return None


def _by_version(ask: Ask) -> tuple[Product, str] | None:
    if _mapping(ask, "/sdapi/v1/version").get("app") == "sd.next":
        return Product.SDNEXT, "it calls itself sd.next"
    return None


def _schedules(ask: Ask) -> tuple[tuple[Scheduler, ...] | None, str]:
    """The schedules a server knows, None where they are part of the sampler's name; and the fact that says so."""
    try:
        listed = TypeAdapter(tuple[Scheduler, ...]).validate_python(ask("/sdapi/v1/schedulers"))
        return listed, "it lists schedules"
    except ValidationError:
        return None, "what it lists as schedules are none"
    except RequestRejected:
        pass
    schemas = _part(_part(_mapping(ask, "/openapi.json"), "components"), "schemas")
    if any("Img2Img" in name and "scheduler" in _part(_part(schemas, name), "properties") for name in schemas):
        return _SCHEDULES_OF_1_9_0, "img2img takes a schedule, though none are listed (1.9.0)"
    return None, "it lists no schedules"


def _mapping(ask: Ask, path: str) -> Mapping[str, Any]:
    """The JSON object at a path; empty where the server has none."""
    try:
        answer = ask(path)
    except _DOES_NOT_SAY:
        return {}
    return answer if isinstance(answer, dict) else {}


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The JSON object under a key; empty where there is none."""
    part = whole.get(key)
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str | None:
    return str(value) if value else None
