"""What each server calls its samplers and schedules.

Since AUTOMATIC1111 1.9 a sampler ("DPM++ SDE") and a schedule ("Karras") are two fields; before, they were one
joint name ("DPM++ SDE Karras"). A name that a server does not know is replaced by another one *silently*, so
names are resolved against the server's own lists before anything is sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import UnknownSetting
from .models import Sampler, Scheduler

AUTOMATIC = "Automatic"


@dataclass(frozen=True)
class Dialect:
    """The names one server understands.

    Attributes:
        samplers: as `/sdapi/v1/samplers` lists them.
        schedulers: as `/sdapi/v1/schedulers` lists them; None for a server from before they were apart.
    """

    samplers: Sequence[Sampler]
    schedulers: Sequence[Scheduler] | None

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


def _unknown(kind: str, asked: str, names: Iterable[str]) -> UnknownSetting:
    listed = list(names)
    near = difflib.get_close_matches(asked, listed, n=4, cutoff=0.4) or listed[:8]
    hint = f"near names: {', '.join(near)}" if near else "it lists none"
    return UnknownSetting(f"{kind} {asked!r} is not on this server; {hint}", field=kind)
