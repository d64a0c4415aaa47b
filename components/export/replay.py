"""Replays evaluated examples through a SavedModel, as a program of its own.

    python replay.py MODEL EXAMPLES [--examples N]

MODEL is a SavedModel that takes one string tensor and gives `prediction` and `score`; EXAMPLES holds a JSON
object a line with `input`, `prediction` and `score`. N of them, spread over the file, are answered in
batches, and some also alone and beside a very long or an empty text: an answer must not depend on the others
in its batch. What the signatures `classify`, `n_best` and `explain` say, where there are any, must agree with
that. The model's own warm-up requests must be readable, ask every signature, and be answered.
Prints a JSON report. Exit code 0: everything was answered as it was evaluated; 1: it was not.

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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.export.signature_checks import Answer, Check

    Answerer = Callable[[Sequence[str]], list[Answer]]

HARD_INPUTS = {"an empty text": "", "an emoji": "🙂", "10,000 characters": "x" * 10_000}
_BATCH_SIZE = 32
_ALONE = 8  # how many are also answered alone, and beside each hard input
_CALLS, _SECONDS = 200, 2.0  # of each latency measurement, whichever ends first
_SHOWN = 10
_FOREIGN = {"tensorflow", "tensorflow_text", "keras", "layers", "components", "pipeline"}


def main() -> int:
    """Prints the report; returns the exit code."""
    parser = argparse.ArgumentParser(description="Replay evaluated examples through a SavedModel.")
    parser.add_argument("model", help="directory of the SavedModel")
    parser.add_argument("evaluated", help="JSON lines with input, prediction and score")
    parser.add_argument("--examples", type=int, default=64, help="how many to replay (default: 64)")
    options = parser.parse_args()
    examples = read_examples(options.evaluated, options.examples)
    session, checks, warmup = _sibling("session"), _sibling("signature_checks"), _sibling("warmup_log")
    try:
        if not examples:
            raise session.SavedModelError(f"{options.evaluated} holds no examples to prove it with")
        report = replay(session, checks, warmup, options.model, examples)
    except session.SavedModelError as error:
        report = {"ok": False, "error": str(error)}
    print(json.dumps(report, indent=1, allow_nan=False))
    return 0 if report["ok"] else 1


def read_examples(path: str, count: int) -> list[dict[str, Any]]:
    """At most `count` rows of a file of JSON lines, at equal distances."""
    with open(path, encoding="utf-8") as lines:
        return spread([json.loads(line) for line in lines], count)


def spread(examples: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most `count` of the examples, at equal distances."""
    count = min(count, len(examples))
    return [examples[index * len(examples) // count] for index in range(count)]


def replay(
    session: ModuleType, checks: ModuleType, warmup: ModuleType, model: str, examples: list[dict[str, Any]]
) -> dict[str, Any]:
    """Answers the examples and the hard inputs, and compares.

    Args:
        session: The module session.py.
        checks: The module signature_checks.py.
        warmup: The module warmup_log.py.
        model: Directory of the SavedModel.
        examples: What was evaluated: `input`, `prediction`, `score`; at least one.

    Returns:
        The report: ok, replayed, mismatched, mismatches (the first ten), undefined (what is wrong with the
        answer to a hard input, by its name), signatures (of each beside `serving_default`: how many texts it
        answered, how many wrongly, and the faults of the first ten), warmup (how many requests, and what is
        wrong with them), largest_score_difference, load_seconds, latency_milliseconds (by batch size) and
        foreign_modules.

    Raises:
        SavedModelError: If the model does not load, or cannot answer the examples.
    """
    inputs = [example["input"] for example in examples]
    evaluated = [
        checks.Answer(row["prediction"], math.nan if row["score"] is None else row["score"])
        for row in examples
    ]
    company = inputs[:_ALONE]
    answers: list[tuple[int, Answer]] = []
    undefined: dict[str, str] = {}
    questions: list[list[tuple[str, Answer]]] = []
    started = time.perf_counter()
    with session.SavedModelSession(model) as served:
        load_seconds = time.perf_counter() - started
        answer = _answerer(session, checks, served)
        for start in range(0, len(inputs), _BATCH_SIZE):
            batch = inputs[start : start + _BATCH_SIZE]
            found = answer(batch)
            answers += enumerate(found, start)
            questions.append(list(zip(batch, found, strict=True)))
        for index, text in enumerate(company):
            answers += [(index, each) for each in answer([text])]
        for name, text in HARD_INPUTS.items():
            try:
                alone, *beside, together = [*answer([text]), *answer([*company, text])]
            except session.SavedModelError as error:
                undefined[name] = str(error)
                continue
            answers += enumerate(beside)
            if math.isfinite(alone.score) and math.isfinite(together.score):
                questions.append([(text, alone)])
            else:
                undefined[name] = f"its score is {alone.score} alone and {together.score} in a batch"
        signatures = {
            name: _inspect(session, check, served, name, questions)
            for name, check in checks.CHECKS.items()
            if name in served.signatures
        }
        warmed = _warm_up(session, warmup, served, Path(model))
        latency = {str(size): _latency(answer, inputs, size) for size in (1, _BATCH_SIZE)}
    wrong = {index: each for index, each in answers if not checks.agree(evaluated[index], each)}
    foreign = sorted({name.partition(".")[0] for name in sys.modules} & _FOREIGN)
    return {
        "ok": not (wrong or undefined or foreign or warmed["problem"] or _faulty(signatures)),
        "replayed": len(examples),
        "mismatched": len(wrong),
        "mismatches": [
            {
                "input": inputs[index],
                "evaluated": {name: examples[index][name] for name in ("prediction", "score")},
                "served": {
                    "prediction": each.prediction,
                    "score": each.score if math.isfinite(each.score) else None,
                },
            }
            for index, each in sorted(wrong.items())[:_SHOWN]
        ],
        "unanswered": sum(example["score"] is None for example in examples),
        "undefined": undefined,
        "signatures": signatures,
        "warmup": warmed,
        "largest_score_difference": max(_differences(evaluated, answers), default=None),
        "load_seconds": load_seconds,
        "latency_milliseconds": latency,
        "foreign_modules": foreign,
    }


def _differences(evaluated: list[Answer], answers: list[tuple[int, Answer]]) -> Iterator[float]:
    differences = (abs(evaluated[index].score - each.score) for index, each in answers)
    return filter(math.isfinite, differences)


def _inspect(
    session: ModuleType, check: Check, served: Any, name: str, batches: list[list[tuple[str, Answer]]]
) -> dict[str, Any]:
    """Asks a signature the texts of each batch, which `serving_default` gave the answers beside them."""
    _require(session, served, name, check.outputs)
    faults: list[tuple[str, str]] = []
    for batch in batches:
        texts = [text for text, _ in batch]
        try:
            asked = [session.example(text) for text in texts] if name == "classify" else texts
            found = served.run(asked, name)
        except session.SavedModelError as error:
            faults += [(text, str(error)) for text in texts]
            continue
        for index, (text, expected) in enumerate(batch):
            fault = check.fault(expected, {output: values[index] for output, values in found.items()})
            faults += [(text, fault)] if fault else []
    names = {text: name for name, text in HARD_INPUTS.items()}
    return {
        "answered": sum(map(len, batches)),
        "faulty": len(faults),
        "faults": [{"input": names.get(text, text), "fault": fault} for text, fault in faults[:_SHOWN]],
    }


def _faulty(signatures: dict[str, Any]) -> bool:
    return any(each["faulty"] for each in signatures.values())


def _warm_up(session: ModuleType, warmup: ModuleType, served: Any, model: Path) -> dict[str, Any]:
    """Answers the model's own warm-up requests, as TF Serving does when it loads it."""
    path = model / warmup.WARMUP
    if not path.is_file():
        return {"requests": 0, "problem": f"there is no {warmup.WARMUP}"}
    asked: list[str] = []
    try:
        for request in warmup.read_requests(path, session.fields):
            served.run(request.values, request.signature)
            asked.append(request.signature)
    except (session.SavedModelError, ValueError, LookupError) as error:
        return {"requests": len(asked), "problem": f"request {len(asked) + 1} of {path.name}: {error}"}
    missing = sorted({*served.signatures} - {*asked})
    problem = f"no request asks {', '.join(missing)}" if missing else ""
    return {"requests": len(asked), "problem": problem}


def _require(session: ModuleType, served: Any, name: str, outputs: dict[str, str]) -> None:
    given = {output: info.dtype for output, info in served.signature(name).outputs.items()}
    if not outputs.items() <= given.items():
        raise session.SavedModelError(f"the signature {name} gives {given}; expected {outputs}")


def _answerer(session: ModuleType, checks: ModuleType, served: Any) -> Answerer:
    _require(session, served, "serving_default", {"prediction": "string", "score": "float32"})

    def answer(texts: Sequence[str]) -> list[Answer]:
        found = served.run(texts)
        predictions = [prediction.decode(errors="replace") for prediction in found["prediction"]]
        scores = [float(str(score)) for score in found["score"]]  # the shortest float32, as evaluated
        return list(map(checks.Answer, predictions, scores))

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


def _sibling(name: str) -> ModuleType:
    """Loads a file beside this one without the packages around it."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
