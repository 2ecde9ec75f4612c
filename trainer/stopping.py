"""When a training ends before its last epoch, and what its curves say as it goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tqdm import tqdm

from .config import TrainConfig
from .diagnose import STOP_AFTER, Diagnosis, diagnose, should_stop
from .evidence import Conditions
from .history import EpochRecord, History
from .messages import text


class Watch:
    """Looks at a training after each epoch; what it says depends on the epochs alone, so a resumed run stops alike.

    Args:
        config: of the training.
        epochs: those that are done already.
        n_classes: outputs of the network.
        announce: write the diagnosis to stderr when it changes.
    """

    def __init__(self, config: TrainConfig, epochs: Sequence[EpochRecord], *, n_classes: int, announce: bool) -> None:
        self._config = config
        self._conditions = Conditions(
            classes=n_classes, label_smoothing=config.label_smoothing, epochs_planned=config.epochs
        )
        self._announce = False
        self._diagnoses: list[Diagnosis] = []
        self.reason: str | None = None
        """Why to stop now, in words; None: go on."""
        for count in range(max(1, len(epochs) - STOP_AFTER + 1), len(epochs) + 1):
            self.look(epochs[:count])
        self._announce = announce

    @property
    def line(self) -> str:
        """What the curves say so far, in one sentence; "" before the first epoch."""
        return text(self._diagnoses[-1].line) if self._diagnoses else ""

    def look(self, epochs: Sequence[EpochRecord]) -> None:
        """Take one more epoch into account.

        Args:
            epochs: all so far, the new one last.
        """
        config = self._config
        before = self._diagnoses[-1].kind if self._diagnoses else "inconclusive"
        self._diagnoses = [*self._diagnoses[1 - STOP_AFTER :], diagnose(epochs, self._conditions)]
        if self._announce and self._diagnoses[-1].kind != before:
            tqdm.write(self.line, file=sys.stderr)
        if len(epochs) >= config.epochs:
            self.reason = None
            return
        waited = History(tuple(epochs)).epochs_since_best(config.monitor)
        if config.patience is not None and waited >= config.patience:
            self.reason = f"no better {config.monitor} in {waited} epochs"
        elif config.stop_on == "overfit" and should_stop(self._diagnoses, kind="overfitting"):
            self.reason = f"overfitting in {STOP_AFTER} epochs in a row"
