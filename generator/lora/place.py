"""The folder beside a LoRA file where its training is kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcore.files import write_bytes_atomically

from ..errors import SettingsError
from .captions import Captions


@dataclass(frozen=True)
class TrainingFolder:
    """`<name>-training/` beside `<name>.safetensors`."""

    output: Path
    """The LoRA file."""

    @property
    def name(self) -> str:
        """What a prompt calls the LoRA."""
        return self.output.stem

    @property
    def path(self) -> Path:
        """The folder."""
        return self.output.with_name(f"{self.name}-training")

    @property
    def state(self) -> Path:
        """What an interrupted training goes on from."""
        return self.path / "state"

    @property
    def log(self) -> Path:
        """The loss of each step."""
        return self.path / "log.csv"

    @property
    def run_file(self) -> Path:
        """Prompts by class for `sdclient generate --config`."""
        return self.path / "run.toml"

    def sheet(self, step: int) -> Path:
        """Sample pictures after a step."""
        return self.path / "samples" / f"{step:06d}.png"

    def check(self, *, restart: bool) -> None:
        """Refuse a name that cannot be used, and to overwrite a file that is not of this training.

        Raises:
            SettingsError: says which name would do.
        """
        if self.output.suffix.lower() != ".safetensors":
            raise SettingsError(f"-o {self.output}: expected a name that ends in .safetensors, as defects.safetensors")
        if any(sign in self.name for sign in ":<>,"):
            raise SettingsError(
                f"-o {self.output}: prompts name the file as <lora:{self.name}:0.8>; leave out : < > and ,"
            )
        if self.output.exists() and not restart and not self.state.exists():
            raise SettingsError(
                f"-o {self.output}: there is such a file, and no training in {self.path} to go on with; take another "
                "name, or add --restart to replace it"
            )

    def write_log(self, losses: Sequence[float]) -> None:
        """Write the loss of every step.

        Raises:
            OSError: it cannot be written.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["step", "loss"])
        rows.writerows([number, f"{loss:.6g}"] for number, loss in enumerate(losses, start=1))
        write_bytes_atomically(self.log, text.getvalue().encode("utf-8"))

    def write_run_file(self, captions: Captions, classes: Sequence[str], weight: float = 0.8) -> None:
        """Write prompts that say what the captions said.

        Raises:
            OSError: it cannot be written.
        """
        lines = [
            "# Prompts as this LoRA was trained with them: sdclient generate SOURCES OUTPUT --config run.toml ...",
            f"loras = [{_quoted(f'{self.name}:{weight:g}')}]",
        ]
        for name in classes:
            lines += ["", f"[class.{_quoted(name)}]", f"prompt = {_quoted(_literal(captions.of_class(name)))}"]
        write_bytes_atomically(self.run_file, ("\n".join(lines) + "\n").encode("utf-8"))


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are TOML's too."""
    return json.dumps(text, ensure_ascii=False)


def _literal(prompt: str) -> str:
    """A prompt in which nothing is taken for a placeholder."""
    return prompt.replace("{", "(").replace("}", ")")
