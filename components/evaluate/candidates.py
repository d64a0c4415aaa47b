"""The models that are measured: the one that a trial has trained, and others beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from components.artifacts.tokens import Tokens
from components.artifacts.trained_model import TrainedModel
from components.models.decode import DecodeConfig
from components.strict import Task

if TYPE_CHECKING:
    from components.artifacts.artifact import Reference
    from components.evaluate.coverage import Selection


class Answering(Protocol):
    """A model that answers texts, such as components.predictor.Predictor."""

    @property
    def labels(self) -> Sequence[str]:
        """The label of each class (classification)."""

    @property
    def signatures(self) -> Mapping[str, Callable[[Any], Any]]:
        """Its functions of texts by name; `explain` says what the decoder looked at."""

    def __call__(self, text: Any) -> Any:
        """Answers a batch of texts."""


class Candidate(Protocol):
    """A model that is measured."""

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """What it is made of, beside the examples: parts of artifacts."""

    @property
    def of_trial(self) -> bool:
        """Whether it is measured on the examples of its own trial, so that these are checked, too."""

    @property
    def identity(self) -> str:
        """Which model it is, where that does not follow from what it reads; empty where it does."""

    @property
    def chosen(self) -> Selection | None:
        """The threshold that it brings; None: where one is wanted, it is looked for."""

    def load(self, inputs: Mapping[str, Reference], task: Task, decode: DecodeConfig | None) -> Answering:
        """Loads it where examples are answered."""


@dataclass(frozen=True)
class Trained:
    """A model that was trained, as it is exported.

    Args:
        of_trial: whether it is measured on the examples of its own trial.
    """

    of_trial: bool = True
    identity: ClassVar = ""
    chosen: ClassVar = None

    @property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """Vocabularies and network; the report on the tokens only where it is of the same examples."""
        vocabulary = ("vocabulary", "report") if self.of_trial else ("vocabulary",)
        return {"tokenize": vocabulary, "train": ("model",)}

    def load(self, inputs: Mapping[str, Reference], task: Task, decode: DecodeConfig | None) -> Answering:
        """Loads network and tokenizers."""
        from components.predictor import load_predictor

        model: TrainedModel = TrainedModel.load(inputs["train"])
        return load_predictor(Tokens.load(inputs["tokenize"]), model.model_file(), task, decode)


@dataclass(frozen=True)
class Exported:
    """A model that was exported before; it brings its own tokenizers and decoder.

    Args:
        directory: its SavedModel, on the machine that measures it or where `carry` has put it.
        identity: which model it is, wherever its files are.
        chosen: the threshold of its run, if that is known.
    """

    directory: str
    identity: str
    chosen: Selection | None = None
    of_trial: ClassVar = False
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def load(self, inputs: Mapping[str, Reference], task: Task, decode: DecodeConfig | None) -> Answering:
        """Loads the SavedModel."""
        from components.carried import fetch
        from components.evaluate.saved_model import SavedModelAnswers

        return SavedModelAnswers(str(fetch(self.directory)))
