"""Which WebUI answers, and its names of samplers, schedules and VAEs.

Since AUTOMATIC1111 1.9 a sampler ("DPM++ SDE") and a schedule ("Karras") are two fields; before, they were one
joint name ("DPM++ SDE Karras"). A server *silently* replaces a name that it does not know, so names are looked up in
the server's own lists before a request is sent.

Facts and their sources (repository, file, commit):

- A1111 separated sampler and schedule in 1.9.0 and lists schedules since 1.9.1 (AUTOMATIC1111/stable-diffusion-webui,
  CHANGELOG.md and pull request 15577, which also shows 1.9's six schedules). Its flags hold `nowebui` and `api_auth`
  (recorded from 1.10.1).
- Forge and its descendants have the flag `forge_ref_a1111_home` (lllyasviel/stable-diffusion-webui-forge,
  modules/cmd_args.py, 001f2305). Since August 2024 Forge has the hidden options `forge_inference_memory` and others
  (modules_forge/shared_options.py, 02ffb046), later `forge_additional_modules` (issue 2264), and `/sd-modules` in
  place of `/sd-vae` (modules/api/api.py, 0bdbe79b).
- reForge has that flag too, keeps `/sd-vae` and `/schedulers` (Panchovix/stable-diffusion-webui-reForge,
  modules/api/api.py, 440a57e4), and only reForge has the option `sd_sampling` (modules/shared_options.py, 025b62dc).
- SD.Next keeps the schedule in the option `schedulers_sigma` (vladmandic/sdnext, modules/sd_samplers_diffusers.py,
  046840c8), which a request may override for itself (modules/processing.py, 01a68baa; its wiki's page "Parameters").
  Its infotexts say "Sampler sigma" (modules/processing_info.py, 0c7038e6). It has the flags `auth` and `auth_file` and
  answers `/sdapi/v1/version` (modules/api/api.py, 05659097) with `"app": "sd.next"`, the commit as `hash` or `commit`
  (modules/api/server.py, 0e76332b, from installer.py or modules/shared.py). Its `/schedulers` lists samplers, with a
  class and no label (modules/api/models.py).
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..errors import RequestRejected, ServerFault, UnexpectedReply, UnknownSetting
from ..manifest.database import NOT_STABLE_DIFFUSION
from ..models.server import VAE, Sampler, Scheduler, SDModule

AUTOMATIC = "Automatic"

SDNEXT_SCHEDULE_OPTION = "schedulers_sigma"
SDNEXT_SCHEDULE_IN_INFOTEXT = "Sampler sigma"
SDNEXT_AUTOMATIC = "default"
"""The option's value for the sampler's own schedule; infotexts leave it out."""
SDNEXT_SCHEDULES = (
    Scheduler(name=SDNEXT_AUTOMATIC, label=AUTOMATIC),
    Scheduler(name="karras", label="Karras"),
    Scheduler(name="exponential", label="Exponential"),
    Scheduler(name="betas", label="Beta"),
    Scheduler(name="lambdas", label="Lambdas"),
    Scheduler(name="flowmatch", label="FlowMatch"),
)
"""The option's values as names, with A1111's labels where it has the same schedule."""


@dataclass(frozen=True)
class Dialect:
    """The names one server understands."""

    samplers: Sequence[Sampler]
    schedulers: Sequence[Scheduler] | None
    """None for a server whose samplers name the schedule too."""
    schedule_option: str | None = None
    """The option that holds the schedule, if no field of the request does."""

    def fields(
        self, sampler: str | None, scheduler: str | None, override_settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The request's fields for a sampler and a schedule, in either spelling, as this server wants them.

        A scheduler of None leaves it to the sampler's name or the server. The request's `override_settings` are kept.

        Raises:
            UnknownSetting: the server has no such sampler or schedule, or the two contradict each other.
        """
        sampler, scheduler = self.resolve(sampler, scheduler)
        if self.schedule_option is None or scheduler is None:
            return {"sampler_name": sampler, "scheduler": scheduler}
        value = next(entry.name for entry in self.schedulers or () if entry.label == scheduler)
        overridden = {**(override_settings or {}), self.schedule_option: value}
        return {"sampler_name": sampler, "scheduler": None, "override_settings": overridden}

    def resolve(self, sampler: str | None, scheduler: str | None) -> tuple[str | None, str | None]:
        """The (sampler, scheduler) to send for the user's names, in either spelling.

        Raises:
            UnknownSetting: the server has no such sampler or schedule, or the two contradict each other.
        """
        if sampler is None:
            return None, self._scheduler(scheduler)
        names = [entry.name for entry in self.samplers]
        exact = self._sampler(sampler)
        if self.schedulers is None:
            joint = sampler if scheduler in (None, AUTOMATIC) else f"{sampler} {scheduler}"
            found = self._sampler(joint)
            if found is None:
                raise _unknown("sampler", joint, names)
            return found, None
        if exact is not None:
            return exact, self._scheduler(scheduler)
        split = self._split_joint(sampler)
        if split is None:
            raise _unknown("sampler", sampler, names)
        wanted = self._scheduler(scheduler)
        if wanted is not None and wanted != split[1]:
            raise UnknownSetting(
                f"sampler {sampler!r} already names the schedule {split[1]!r}, but {wanted!r} was asked for as well; "
                "give one of the two",
                field="scheduler",
            )
        return split

    def _split_joint(self, joint: str) -> tuple[str, str] | None:
        """Split "DPM++ SDE Karras" into ("DPM++ SDE", "Karras") when the server knows both."""
        for entry in self.schedulers or ():
            if joint.casefold().endswith(f" {entry.label}".casefold()):
                sampler = self._sampler(joint[: -len(entry.label) - 1])
                if sampler is not None:
                    return sampler, entry.label
        return None

    def _sampler(self, name: str) -> str | None:
        """The server's own spelling of a sampler, or None."""
        if any(entry.name == name for entry in self.samplers):
            return name
        known = ((entry.name, {word.casefold() for word in (entry.name, *entry.aliases)}) for entry in self.samplers)
        return next((spelling for spelling, words in known if name.casefold() in words), None)

    def _scheduler(self, name: str | None) -> str | None:
        """The label of a schedule by its label, name or alias."""
        if name is None:
            return None
        for entry in self.schedulers or ():
            known = {entry.name, entry.label, *(entry.aliases or ())}
            if name.casefold() in {word.casefold() for word in known}:
                return entry.label
        raise _unknown("scheduler", name, [entry.label for entry in self.schedulers or ()])


def resolve_vae(names: Sequence[str], listed: Sequence[VAE | SDModule], *, as_modules: bool) -> dict[str, Any]:
    """The server options that select a VAE, or Forge's modules: VAE and text encoders together.

    Forge gets paths: until October 2024 it required them (lllyasviel/stable-diffusion-webui-forge, pull request 2027),
    since then it takes either.

    Args:
        names: as listed, or without their suffix; without a name it is the checkpoint's own VAE.

    Raises:
        UnknownSetting: one is not listed, or there are several for a server that takes one.
    """
    found = []
    for name in names:
        match = next((entry for entry in listed if name in (entry.model_name, PurePath(entry.model_name).stem)), None)
        if match is None:
            raise _unknown("module" if as_modules else "VAE", name, [entry.model_name for entry in listed])
        found.append(match)
    if as_modules:
        return {"forge_additional_modules": [entry.filename for entry in found]}
    if len(found) > 1:
        raise UnknownSetting(f"{len(found)} VAEs asked for; this server takes one", field="sd_vae")
    return {"sd_vae": found[0].model_name if found else "None"}


def _unknown(kind: str, name: str, listed: list[str]) -> UnknownSetting:
    near = difflib.get_close_matches(name, listed, n=4, cutoff=0.4) or listed[:8]
    hint = f"near names: {', '.join(near)}" if near else "it lists none"
    return UnknownSetting(f"{kind} {name!r} is not on this server; {hint}", field=kind)


Ask = Callable[[str], Any]
"""GET a path of the server and give the reply's JSON; raises as `Connection.send` does."""

_MODULES_OPTION = "forge_additional_modules"
_UNANSWERED = (RequestRejected, ServerFault, UnexpectedReply)
"""Errors by which a working server answers a question that it does not know."""

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
    """What a server was recognised as."""

    product: Product
    recognised_by: tuple[str, ...]
    """The facts that decided it, in words."""
    schedulers: tuple[Scheduler, ...] | None
    """The schedules it knows; None for a server whose samplers name the schedule too."""
    takes_modules: bool = False
    """VAE and text encoders are given together, as `forge_additional_modules`, not as `sd_vae`."""

    @property
    def label(self) -> str:
        """The program's name; for A1111 also whether it is older than 1.9."""
        if self.product is not Product.A1111:
            return str(self.product.value)
        return "A1111 < 1.9" if self.schedulers is None else "A1111 >= 1.9"

    @property
    def schedule_option(self) -> str | None:
        """The option that holds the schedule; None if a field of the request or the sampler's name does."""
        return SDNEXT_SCHEDULE_OPTION if self.product is Product.SDNEXT else None


@dataclass(frozen=True)
class ServerVersion:
    """The version a server reports."""

    version: str | None = None
    """As the program writes it: "1.10.1", or a date for SD.Next."""
    commit: str | None = None


def detect_server(ask: Ask) -> ServerKind:
    """Recognise a server with one to five small questions.

    A working server is never refused: one that is not recognised is `Product.UNKNOWN`.

    Raises:
        WebUIError: the server is not there, not ready, or refuses the credentials.
    """
    options = _mapping(ask, "/sdapi/v1/options")
    product, fact = _by_options(options) or _by_flags(ask) or _by_version(ask) or (Product.UNKNOWN, _UNRECOGNISED)
    if product is Product.SDNEXT:
        return ServerKind(product, (fact,), SDNEXT_SCHEDULES)
    schedulers, how = _schedules(ask)
    if product is Product.FORGE and schedulers is not None and fact == _FORGE_FLAG:
        product, fact = Product.REFORGE, f"{fact}, its options none of Forge's"
    takes_modules = product is Product.FORGE and _MODULES_OPTION in options
    return ServerKind(product, (fact, how), schedulers, takes_modules)


def find_version(ask: Ask, product: Product) -> ServerVersion:
    """The version that the server reports; an empty one if it reports none (A1111 started with `--nowebui`).

    A1111, Forge and reForge report it only in `/internal/sysinfo`, which takes them some seconds.

    Raises:
        WebUIError: the server is not there, not ready, or refuses the credentials.
    """
    if product is Product.SDNEXT:
        reply = _mapping(ask, "/sdapi/v1/version")
        return ServerVersion(_text(reply.get("updated")), _text(reply.get("commit") or reply.get("hash")))
    if product is Product.EMBEDDED:
        return ServerVersion(_text(_part(_mapping(ask, "/openapi.json"), "info").get("version")))
    reply = _mapping(ask, "/internal/sysinfo")
    return ServerVersion(_text(reply.get("Version")), _text(reply.get("Commit")))


_FORGE_FLAG = "its flags hold forge_ref_a1111_home"
_UNRECOGNISED = "neither its options nor its flags are those of a known program"


def _by_options(options: Mapping[str, Any]) -> tuple[Product, str] | None:
    model = str(options.get("sd_model_checkpoint") or "").partition(" [")[0]  # without the hash in brackets
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
    """The schedules a server knows, None if the sampler's name holds the schedule; and the fact that shows it."""
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
    """The JSON object at a path; empty if the server has none."""
    try:
        answer = ask(path)
    except _UNANSWERED:
        return {}
    return answer if isinstance(answer, dict) else {}


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The JSON object under a key; empty if there is none."""
    part = whole.get(key)
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str | None:
    return str(value) if value else None
