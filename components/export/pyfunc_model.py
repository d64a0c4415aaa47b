"""The SavedModel as MLflow serves it; MLflow copies this file beside the model, so it stands alone.

With RNNPIPE_WATCH set to a directory of versions the newest of them answers, also one that comes later; what
was asked before is still answered by the version before.
"""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import set_model

_PAUSE = 1.0  # seconds between two looks at the directory


class ServedModel(mlflow.pyfunc.PythonModel):
    """Answers texts by the SavedModel's default signature."""

    def load_context(self, context: Any) -> None:
        """Loads the SavedModel."""
        import tensorflow  # noqa: F401 (not in a thread: it would be imported while requests wait)
        import tensorflow_text  # noqa: F401 (its operations are in the model)

        self._versions = Path(os.environ["RNNPIPE_WATCH"]) if "RNNPIPE_WATCH" in os.environ else None
        self._directory = self._newest() or Path(context.artifacts["saved_model"])
        self._model = _load(self._directory)
        if self._versions:
            threading.Thread(target=self._watch, daemon=True).start()

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Answers each `text` of a table with `prediction` and `score`."""
        import tensorflow as tf

        texts = [text.encode(errors="surrogatepass") for text in model_input["text"]]
        model = self._model  # kept for the time of the call, whatever is loaded meanwhile
        answers = model.signatures["serving_default"](text=tf.constant(texts, tf.string, [len(texts)]))
        predictions = [prediction.decode(errors="replace") for prediction in answers["prediction"].numpy()]
        return pd.DataFrame({"prediction": predictions, "score": answers["score"].numpy().astype(float)})

    def _newest(self) -> Path | None:
        """The version with the greatest number; a push makes it visible as a whole."""
        if self._versions is None:
            return None
        saved_models = [
            path
            for path in self._versions.iterdir()
            if path.name.isdecimal() and (path / "saved_model.pb").is_file()
        ]
        return max(saved_models, key=lambda path: int(path.name), default=None)

    def _watch(self) -> None:
        while True:
            time.sleep(_PAUSE)
            newest = None
            try:
                newest = self._newest()
                if newest is not None and newest != self._directory:
                    self._model, self._directory = _load(newest), newest
            except Exception as error:  # it may be removed again; what was loaded goes on answering
                print(f"version {newest} cannot be loaded: {error}", flush=True)


def _load(directory: Path) -> Any:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:  # TensorFlow would take [ in the path for a pattern
        link = Path(folder, "model")
        link.symlink_to(directory.absolute(), target_is_directory=True)
        return tf.saved_model.load(str(link))


set_model(ServedModel())
