"""The SavedModel as MLflow serves it; MLflow copies this file beside the model, so it stands alone."""

from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import set_model


class ServedModel(mlflow.pyfunc.PythonModel):
    """Answers texts by the SavedModel's default signature."""

    def load_context(self, context: Any) -> None:
        """Loads the SavedModel."""
        import tensorflow as tf
        import tensorflow_text  # noqa: F401 (its operations are in the model)

        self._model = tf.saved_model.load(context.artifacts["saved_model"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Answers each `text` of a table with `prediction` and `score`."""
        import tensorflow as tf

        texts = [text.encode(errors="surrogatepass") for text in model_input["text"]]
        answers = self._model.signatures["serving_default"](text=tf.constant(texts, tf.string, [len(texts)]))
        predictions = [prediction.decode(errors="replace") for prediction in answers["prediction"].numpy()]
        return pd.DataFrame({"prediction": predictions, "score": answers["score"].numpy().astype(float)})


set_model(ServedModel())
