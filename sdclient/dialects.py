"""What each server calls its samplers and schedules.

Since AUTOMATIC1111 1.9 a sampler ("DPM++ SDE") and a schedule ("Karras") are two fields; before, they were one
joint name ("DPM++ SDE Karras"). A name that a server does not know is replaced by another one *silently*, so
names are resolved against the server's own lists before anything is sent.

SD.Next names the sampler alone and keeps the schedule in an option of its own (vladmandic/sdnext,
modules/sd_samplers_diffusers.py, 046840c8), which a request may override for itself (modules/processing.py,
01a68baa; its wiki's page "Parameters"). Infotexts there say "Sampler sigma" (modules/processing_info.py, 0c7038e6).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from .errors import UnknownSetting
from .models import VAE, Sampler, Scheduler, SDModule

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
