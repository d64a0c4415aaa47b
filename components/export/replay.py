"""Replays evaluated examples through a SavedModel, as a program of its own.

    python replay.py MODEL EXAMPLES [--examples N]

MODEL is a SavedModel that takes one string tensor and gives `prediction` and `score`; EXAMPLES holds a JSON
object a line with `input`, `prediction` and `score`. N of them, spread over the file, are answered in
batches, and some also alone and beside a very long or an empty text: an answer must not depend on the others
in its batch. A batch of no texts must have no answers. What the signatures `classify`, `n_best` and `explain`
say, where there are any, must agree with that. The signature `score`, if there is one, is asked about the
answers, and about each example's `target`, for which it must give the figures in `scored`. The model's own
warm-up requests must be readable, ask every signature, and be answered.
Prints a JSON report. Exit code 0: everything was answered as it was evaluated; 1: it was not.

A prediction has to be equal. A score may differ by 1e-4, absolutely or relative to its size: more than the
order of float32 sums makes, less than a wrong weight does.

Neither Keras nor TensorFlow's Python nor this project's packages are imported, which the report confirms: TF
Serving has none of them.
"""

from __future__ import annotations

import argparse
import importlib
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
    # Texts, for `score` each with a target, and what is expected.
    Batch = list[tuple[Any, Any]]

HARD_INPUTS = {"an empty text": "", "an emoji": "🙂", "10,000 characters": "x" * 10_000}
_HARD_TARGETS = ["", "🙂"]
_BATCH_SIZE = 32
_ALONE = 8  # how many are also answered alone, and beside each hard input
_CALLS, _SECONDS = 200, 2.0  # of each latency measurement, whichever ends first
_SHOWN = 10
_ALIAS = "rnnpipe_export"  # this package, where it is loaded without those around it
_FOREIGN = {"tensorflow", "tensorflow_text", "keras", "layers", "components", "pipeline"}


def main() -> int:
    """Prints the report; returns the exit code."""
    parser = argparse.ArgumentParser(description="Replay evaluated examples through a SavedModel.")
    parser.add_argument("model", help="directory of the SavedModel")
    parser.add_argument("evaluated", help="JSON lines with input, prediction and score")
    parser.add_argument("--examples", type=int, default=64, help="how many to replay (default: 64)")
    options = parser.parse_args()
    examples = read_examples(options.evaluated, options.examples)
    session, checks, warmup = map(_sibling, ("session", "signature_checks", "warmup_log"))
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
        examples: What was evaluated: `input`, `prediction`, `score`; at least one. For a model with a
            signature `score` also `target`, and `scored`, its outputs for that.

    Returns:
        The report: ok, replayed, mismatched, mismatches (the first ten), undefined (what is wrong with the
        answer to a hard input or to an empty batch, by its name), signatures (of each beside
        `serving_default`: how many texts it answered, how many wrongly, and the faults of the first ten),
        warmup (how many requests, and what is wrong with them), largest_score_difference, load_seconds,
        latency_milliseconds (by batch size) and foreign_modules.

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
    questions: list[Batch] = []
    started = time.perf_counter()
    with session.SavedModelSession(model) as served:
        load_seconds = time.perf_counter() - started
        answer = _answerer(session, checks, served)
        for start in range(0, len(inputs), _BATCH_SIZE):
            batch = inputs[start : start + _BATCH_SIZE]
            predictions = answer(batch)
            answers += enumerate(predictions, start)
            questions.append(list(zip(batch, predictions, strict=True)))
        for index, text in enumerate(company):
            answers += [(index, prediction) for prediction in answer([text])]
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
        if problem := _empty_batch_problem(session, checks, served):
            undefined["an empty batch"] = problem
        signatures = {}
        for name, check in checks.CHECKS.items():
            if name in served.signatures:
                batches = _pairs(checks, examples, questions) if name == "score" else questions
                signatures[name] = _inspect(session, check, served, name, batches)
        warmed = _warm_up(session, warmup, served, Path(model))
        latency = {str(size): _latency(answer, inputs, size) for size in (1, _BATCH_SIZE)}
    wrong = {
        index: prediction for index, prediction in answers if not checks.agree(evaluated[index], prediction)
    }
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
                    "prediction": prediction.prediction,
                    "score": prediction.score if math.isfinite(prediction.score) else None,
                },
            }
            for index, prediction in sorted(wrong.items())[:_SHOWN]
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
    differences = (abs(evaluated[index].score - prediction.score) for index, prediction in answers)
    return filter(math.isfinite, differences)


def _pairs(checks: ModuleType, examples: list[dict[str, Any]], questions: list[Batch]) -> list[Batch]:
    """What `score` is asked: the answers, the evaluated targets, and hard targets beside some of these."""
    batches = [
        [((text, answer.prediction), checks.Scored(answer=answer)) for text, answer in batch]
        for batch in questions
    ]
    evaluated = [((row["input"], row["target"]), checks.Scored(row["scored"])) for row in examples]
    company = evaluated[:_ALONE]
    batches += [evaluated[start : start + _BATCH_SIZE] for start in range(0, len(evaluated), _BATCH_SIZE)]
    batches += [[pair] for pair in company]
    text = examples[0]["input"]
    # Nothing cuts a target, and a decoder may explode on one of thousands of tokens.
    return batches + [[*company, ((text, target), checks.Scored())] for target in _HARD_TARGETS]


def _inspect(
    session: ModuleType, check: Check, served: Any, name: str, batches: list[Batch]
) -> dict[str, Any]:
    """Asks a signature what is in each batch, where the expected stands beside it."""
    _require(session, served, name, check.outputs)
    faults: list[tuple[Any, str]] = []
    for batch in batches:
        try:
            outputs = served.run(_asked(name, [asked for asked, _ in batch]), name)
        except session.SavedModelError as error:
            faults += [(asked, str(error)) for asked, _ in batch]
            continue
        for index, (asked, expected) in enumerate(batch):
            fault = check.fault(expected, {output: values[index] for output, values in outputs.items()})
            faults += [(asked, fault)] if fault else []
    return {
        "answered": sum(map(len, batches)),
        "faulty": len(faults),
        "faults": [_shown(asked, fault) for asked, fault in faults[:_SHOWN]],
    }


def _empty_batch_problem(session: ModuleType, checks: ModuleType, served: Any) -> str:
    """What is wrong with the answers to no texts at all, which a client may send; nothing if all is well."""
    for name in ("serving_default", *(name for name in checks.CHECKS if name in served.signatures)):
        try:
            outputs = served.run(dict.fromkeys(served.signature(name).inputs, ()), name)
        except session.SavedModelError as error:
            return f"the signature {name}: {error}"
        for output, values in outputs.items():
            if values.shape[:1] != (0,):
                return f"the signature {name} gives {output} of the shape {values.shape} for 0 texts"
    return ""


def _asked(name: str, asked: list[Any]) -> Any:
    """As the session takes it."""
    if name == "score":
        return {"text": [text for text, _ in asked], "target": [target for _, target in asked]}
    return list(map(_sibling("wire").example, asked)) if name == "classify" else asked


def _shown(asked: Any, fault: str) -> dict[str, str]:
    names = {text: name for name, text in HARD_INPUTS.items()}
    if isinstance(asked, str):
        return {"input": names.get(asked, asked), "fault": fault}
    text, target = asked
    return {"input": names.get(text, text), "target": target, "fault": fault}


def _faulty(signatures: dict[str, Any]) -> bool:
    return any(signature["faulty"] for signature in signatures.values())


def _warm_up(session: ModuleType, warmup: ModuleType, served: Any, model: Path) -> dict[str, Any]:
    """Answers the model's own warm-up requests, as TF Serving does when it loads it."""
    path = model / warmup.WARMUP
    if not path.is_file():
        return {"requests": 0, "problem": f"there is no {warmup.WARMUP}"}
    asked: list[str] = []
    try:
        for request in warmup.read_requests(path):
            served.run(request.inputs, request.signature)
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
        outputs = served.run(texts)
        predictions = [prediction.decode(errors="replace") for prediction in outputs["prediction"]]
        scores = [float(str(score)) for score in outputs["score"]]  # the shortest float32, as evaluated
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
    if _ALIAS not in sys.modules:
        folder = Path(__file__).parent
        spec = importlib.util.spec_from_file_location(
            _ALIAS, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_ALIAS] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module(f"{_ALIAS}.{name}")


if __name__ == "__main__":
    sys.exit(main())
