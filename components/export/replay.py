"""Replays evaluated examples through a SavedModel, as a program of its own.

    python replay.py MODEL EXAMPLES [--examples N]

MODEL is a SavedModel that takes one string tensor and gives `prediction` and `score`; EXAMPLES holds a JSON
object a line with `input`, `prediction` and `score`. N of them, spread over the file, are answered in
batches, and some also alone and beside a very long or an empty text: an answer must not depend on the others
in its batch. Prints a JSON report. Exit code 0: everything was answered as it was evaluated; 1: it was not.

A prediction has to be equal. A score may differ by 1e-4, absolutely or relative to its size: more than the
order of float32 sums makes, less than a wrong weight does.

Neither Keras nor TensorFlow's Python nor this project's packages are imported, which the report confirms: TF
Serving has none of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

Answer = tuple[str, float]
Answerer = Callable[[Sequence[str]], list[Answer]]

TOLERANCE = 1e-4
HARD_INPUTS = {"an empty text": "", "an emoji": "🙂", "10,000 characters": "x" * 10_000}
_BATCH_SIZE = 32
_ALONE = 8  # how many are also answered alone, and beside each hard input
_CALLS, _SECONDS = 20, 1.0  # of each latency measurement, whichever ends first
_SHOWN = 10
_FOREIGN = {"tensorflow", "tensorflow_text", "keras", "layers", "components", "pipeline"}


def main() -> int:
    """Prints the report; returns the exit code."""
    parser = argparse.ArgumentParser(description="Replay evaluated examples through a SavedModel.")
    parser.add_argument("model", help="directory of the SavedModel")
    parser.add_argument("evaluated", help="JSON lines with input, prediction and score")
    parser.add_argument("--examples", type=int, default=64, help="how many to replay (default: 64)")
    options = parser.parse_args()
    with open(options.evaluated, encoding="utf-8") as lines:
        examples = spread([json.loads(line) for line in lines], options.examples)
    session = _load_session_module()
    try:
        if not examples:
            raise session.SavedModelError(f"{options.evaluated} holds no examples to prove it with")
        report = replay(session, options.model, examples)
    except session.SavedModelError as error:
        report = {"ok": False, "error": str(error)}
    print(json.dumps(report, indent=1, allow_nan=False))
    return 0 if report["ok"] else 1


def spread(examples: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most `count` of the examples, at equal distances."""
    count = min(count, len(examples))
    return [examples[index * len(examples) // count] for index in range(count)]


def agrees(example: dict[str, Any], answer: Answer) -> bool:
    """Whether the answer is the evaluated one, within the tolerance; scores may also both be not finite."""
    prediction, score = answer
    if example["score"] is None or not math.isfinite(score):
        close = example["score"] is None and not math.isfinite(score)
    else:
        close = math.isclose(example["score"], score, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return close and example["prediction"] == prediction


def replay(session: ModuleType, model: str, examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers the examples and the hard inputs, and compares.

    Args:
        session: The module session.py.
        model: Directory of the SavedModel.
        examples: What was evaluated: `input`, `prediction`, `score`; at least one.

    Returns:
        The report: ok, replayed, mismatched, mismatches (the first ten), undefined (what is wrong with the
        answer to a hard input, by its name), largest_score_difference, load_seconds, latency_milliseconds (by
        batch size) and foreign_modules.

    Raises:
        SavedModelError: If the model does not load, or cannot answer the examples.
    """
    inputs = [example["input"] for example in examples]
    company = inputs[:_ALONE]
    answers: list[tuple[int, Answer]] = []
    undefined: dict[str, str] = {}
    started = time.perf_counter()
    with session.SavedModelSession(model) as served:
        load_seconds = time.perf_counter() - started
        answer = _answerer(session, served)
        for start in range(0, len(inputs), _BATCH_SIZE):
            answers += enumerate(answer(inputs[start : start + _BATCH_SIZE]), start)
        for index, text in enumerate(company):
            answers += [(index, found) for found in answer([text])]
        for name, text in HARD_INPUTS.items():
            try:
                alone, *beside, together = [*answer([text]), *answer([*company, text])]
            except session.SavedModelError as error:
                undefined[name] = str(error)
                continue
            answers += enumerate(beside)
            if not (math.isfinite(alone[1]) and math.isfinite(together[1])):
                undefined[name] = f"its score is {alone[1]} alone and {together[1]} in a batch"
        latency = {str(size): _latency(answer, inputs, size) for size in (1, _BATCH_SIZE)}
    wrong = {index: found for index, found in answers if not agrees(examples[index], found)}
    foreign = sorted({name.partition(".")[0] for name in sys.modules} & _FOREIGN)
    return {
        "ok": not (wrong or undefined or foreign),
        "replayed": len(examples),
        "mismatched": len(wrong),
        "mismatches": [
            {
                "input": inputs[index],
                "evaluated": {name: examples[index][name] for name in ("prediction", "score")},
                "served": {"prediction": found[0], "score": found[1] if math.isfinite(found[1]) else None},
            }
            for index, found in sorted(wrong.items())[:_SHOWN]
        ],
        "undefined": undefined,
        "largest_score_difference": max(_differences(examples, answers), default=None),
        "load_seconds": load_seconds,
        "latency_milliseconds": latency,
        "foreign_modules": foreign,
    }


def _differences(examples: list[dict[str, Any]], answers: list[tuple[int, Answer]]) -> Iterator[float]:
    for index, (_, score) in answers:
        if examples[index]["score"] is not None and math.isfinite(score):
            yield abs(examples[index]["score"] - score)


def _answerer(session: ModuleType, served: Any) -> Answerer:
    outputs = {name: info.dtype for name, info in served.signature().outputs.items()}
    if outputs.get("prediction") != "string" or outputs.get("score") != "float32":
        raise session.SavedModelError(
            f"the model gives {outputs}; expected `prediction`, a string, and `score`, a float32"
        )

    def answer(texts: Sequence[str]) -> list[Answer]:
        found = served.run(texts)
        predictions = [prediction.decode(errors="replace") for prediction in found["prediction"]]
        scores = [float(str(score)) for score in found["score"]]  # the shortest float32, as evaluated
        return list(zip(predictions, scores, strict=True))

    return answer


def _latency(answer: Answerer, inputs: list[str], size: int) -> dict[str, float]:
    """Milliseconds of calls with `size` examples each, after one call to warm up."""
    endless = itertools.cycle(inputs)
    answer(list(itertools.islice(endless, size)))
    times: list[float] = []
    while len(times) < _CALLS and sum(times) < _SECONDS * 1000:
        batch = list(itertools.islice(endless, size))
        started = time.perf_counter()
        answer(batch)
        times.append((time.perf_counter() - started) * 1000)
    ordered = sorted(times)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[math.ceil(0.99 * len(ordered)) - 1],
        "calls": len(ordered),
    }


def _load_session_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("session", Path(__file__).with_name("session.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
