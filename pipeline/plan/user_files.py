"""The user's files that stages read beside the artifacts, such as word vectors."""

from __future__ import annotations

from collections.abc import Mapping

from components import files
from components.errors import UserError
from components.user_file import UserFile
from pipeline.config import PipelineConfig
from pipeline.plan.fingerprint import FileFingerprints
from pipeline.stages.stage import Stage


class UserFiles:
    """Resolves them where the command is given, and looks at each once.

    Args:
        known: fingerprints of files.
    """

    def __init__(self, known: FileFingerprints) -> None:
        self._known = known
        self._by_name: dict[str, UserFile] = {}

    def of(self, stage: Stage, config: PipelineConfig) -> Mapping[str, UserFile]:
        """Returns the files of a stage, by what people call them.

        Raises:
            UserError: one is not there, or its address cannot be used.
        """
        return {title: self._file(title, name) for title, name in stage.user_files(config).items()}

    def _file(self, title: str, name: str) -> UserFile:
        if name not in self._by_name:
            place = files.resolve(name)
            try:
                self._by_name[name] = UserFile(name, place, self._known.of(place))
            except (FileNotFoundError, IsADirectoryError) as error:
                raise UserError(
                    f"the {title} file: there is no {name!r}; correct the path or the address."
                ) from error
            self._known.save()
        return self._by_name[name]
