"""Which WebUI answers, and what it calls samplers, schedules and VAEs.

Since AUTOMATIC1111 1.9 a sampler ("DPM++ SDE") and a schedule ("Karras") are two fields; before, they were one
joint name ("DPM++ SDE Karras"). A name that a server does not know is replaced by another one *silently*, so
names are resolved against the server's own lists before anything is sent.

SD.Next names the sampler alone and keeps the schedule in an option of its own (vladmandic/sdnext,
modules/sd_samplers_diffusers.py, 046840c8), which a request may override for itself (modules/processing.py,
01a68baa; its wiki's page "Parameters"). Infotexts there say "Sampler sigma" (modules/processing_info.py, 0c7038e6).

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

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
"""The option's values as names; labels are those of A1111 where it has the same."""


@dataclass(frozen=True)
class Dialect:
    """The names one server understands.

    Attributes:
        samplers: as `/sdapi/v1/samplers` lists them.
        schedulers: as `/sdapi/v1/schedulers` lists them; None for a server from before they were apart.
        schedule_option: the option that holds the schedule, where no field of the request does.
    """

    samplers: Sequence[Sampler]
    schedulers: Sequence[Scheduler] | None
    schedule_option: str | None = None

    def fields(
        self, sampler: str | None, scheduler: str | None, override_settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The request's fields that ask this server for a sampler and a schedule, whichever spelling they came in.

        Args:
            sampler: as the user wrote it.
            scheduler: as the user wrote it; None leaves it to the sampler's name or the server.
            override_settings: those of the request, which are kept.

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
        """The (sampler, scheduler) to send for what the user wrote, in either spelling.

        Raises:
            UnknownSetting: the server has no such sampler or schedule, or the two contradict each other.
        """
        if sampler is None:
            return None, self._scheduler(scheduler)
        names = [entry.name for entry in self.samplers]
        exact = self._sampler(sampler)
        if self.schedulers is None:
            if scheduler is None or scheduler == AUTOMATIC:
                return self._known(sampler, exact, names), None
            joint = self._sampler(f"{sampler} {scheduler}")
            return self._known(f"{sampler} {scheduler}", joint, names), None
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
        folded = name.casefold()
        for entry in self.samplers:
            if entry.name == name:
                return name
        for entry in self.samplers:
            if folded in {entry.name.casefold(), *(alias.casefold() for alias in entry.aliases)}:
                return entry.name
        return None

    def _scheduler(self, name: str | None) -> str | None:
        """The label of a schedule by its label, name or alias."""
        if name is None:
            return None
        folded = name.casefold()
        for entry in self.schedulers or ():
            known = {entry.name, entry.label, *(entry.aliases or ())}
            if folded in {word.casefold() for word in known}:
                return entry.label
        raise _unknown("scheduler", name, [entry.label for entry in self.schedulers or ()])

    @staticmethod
    def _known(asked: str, found: str | None, names: Sequence[str]) -> str:
        if found is None:
            raise _unknown("sampler", asked, names)
        return found


def resolve_vae(names: Sequence[str], listed: Sequence[VAE | SDModule], *, as_modules: bool) -> dict[str, Any]:
    """The server options that ask for a VAE, or for Forge's modules: VAE and text encoders together.

    Forge gets paths: until October 2024 it wanted them (lllyasviel/stable-diffusion-webui-forge, pull request 2027),
    since then it takes either.

    Args:
        names: as listed, or without their suffix; none is the checkpoint's own VAE.
        listed: what the server has.
        as_modules: whether the server takes modules.

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


def _unknown(kind: str, asked: str, names: Iterable[str]) -> UnknownSetting:
    listed = list(names)
    near = difflib.get_close_matches(asked, listed, n=4, cutoff=0.4) or listed[:8]
    hint = f"near names: {', '.join(near)}" if near else "it lists none"
    return UnknownSetting(f"{kind} {asked!r} is not on this server; {hint}", field=kind)


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


def detect_server(ask: Ask) -> ServerKind:
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
