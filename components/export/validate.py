"""Proves a SavedModel in a fresh process, without Keras and without this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.export import replay, session, signature_checks, warmup_log  # noqa: F401 (replay loads them)
from components.export.server_check import check_server, is_up

_LONG = max(replay.HARD_INPUTS, key=lambda name: len(replay.HARD_INPUTS[name]))
_SHOWN = 3
_ASKED = 32  # examples that a real server is asked
_LONGEST = 80
_AFTER_FAILURE = "not run: the model has failed already"
_ADVICE = (
    "The Keras model did answer in evaluation, so the fault is in the export: run it again with "
    "--force export; if it stays, a layer or a tokenizer of this model does not survive being frozen."
)

_ADVICE_ON_LENGTH = (
    "Some layers, rectified ones above all, explode on texts longer than those they were trained on: lower "
    "train.optimizer.learning_rate or train.global_clipnorm, or let tokenize cut texts at a smaller "
    "max_sequence_length."
)

_ADVICE_ON_SEARCH = (
    "In evaluation, too, {unanswered} of {replayed} examples got no answer: the settings of decode leave "
    "none. Lower decode.min_length or decode.no_repeat_ngram_size."
)


_ADVICE_ON_SERVER = (
    "The model loads by TensorFlow's C API, so this is likely the server's trouble: run it by hand, as "
    "`rnnpipe serve` does; without it on the path (or its docker image) the other tiers decide."
)


def validate(
    model: str, evaluated: str, examples: int, report_path: str, problems: Sequence[str] = ()
) -> dict[str, Any]:
    """Replays evaluated examples through a SavedModel, as `components/export/replay.py` says.

    Args:
        model: Directory of the SavedModel.
        evaluated: JSON lines with `input`, `prediction` and `score`; for a model with a signature `score`
            also `target` and `scored`. See `write_examples`.
        examples: How many of them to replay, at most.
        report_path: Where the report is written, also when it is bad.
        problems: What is wrong with its structure; if anything is, it is not replayed.

    Returns:
        The report of the replay, with `tiers`: {name: what was proved, in words}.

    Raises:
        UserError: If the SavedModel is not sound, does not load, answers anything differently, has no answer
            to a text that is empty, exotic or long, or a signature that contradicts the others. The message
            lists all tiers.
    """
    unsound: dict[str, Any] = {"ok": False, "structure": list(problems)}
    report = unsound if problems else _replayed(model, evaluated, examples)
    report["tiers"] = tiers(report)
    server = _AFTER_FAILURE
    if report["ok"]:
        server = check_server(model, replay.read_examples(evaluated, min(examples, _ASKED)))
        report["ok"] = not server.startswith("failed")
    report["tiers"]["server"] = server
    Path(report_path).write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    if not report["ok"]:
        lines = [
            f"{tier:<10} {outcome.partition(': ')[0] if outcome.startswith('failed') else outcome}"
            for tier, outcome in report["tiers"].items()
        ]
        raise UserError("\n".join([f"refused to push: {_refusal(report)}", *lines]))
    return report


def _replayed(model: str, evaluated: str, examples: int) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, replay.__file__, model, evaluated, "--examples", str(examples)],
        capture_output=True,
        # This process may hold all of the GPU's memory.
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        said = process.stderr.decode(errors="replace").strip()[-1000:] or "nothing on standard error"
        report = {"ok": False, "error": f"the replay ended with exit code {process.returncode}: {said}"}
    return report


def _refusal(report: dict[str, Any]) -> str:
    """The reasons why a model is not pushed, and what to do about them."""
    server = report["tiers"]["server"]
    if server.startswith("failed"):
        return f"TensorFlow Serving, {server}. {_ADVICE if is_up(server) else _ADVICE_ON_SERVER}"
    advice = _ADVICE_ON_LENGTH if _overflows(report) else _ADVICE
    if report.get("unanswered"):
        advice = _ADVICE_ON_SEARCH.format(**report)
    return f"{_reasons(report)}. {advice}"


def tiers(report: dict[str, Any]) -> dict[str, str]:
    """What was found out about a SavedModel, tier by tier: `passed`, `failed` or `not run`, and why.

    Args:
        report: of the replay, or with what is wrong with the `structure`.
    """
    if "structure" in report:
        failed = f"failed: {'; '.join(report['structure'])}"
        return {"structure": failed, "replay": _AFTER_FAILURE, "warm-up": _AFTER_FAILURE}
    outcomes = {
        "structure": "passed: the model's variables, each once; vocabulary inside; no path of this machine"
    }
    if "error" in report:
        return {**outcomes, "replay": f"failed: {report['error']}", "warm-up": _AFTER_FAILURE}
    problems = _reasons({**report, "warmup": {"problem": ""}})
    names = ", ".join(["serving_default", *report["signatures"]])
    proved = f"passed: {report['replayed']} evaluated examples through {names}"
    outcomes["replay"] = f"failed: {problems}" if problems else proved
    problem, requests = report["warmup"]["problem"], report["warmup"]["requests"]
    outcomes["warm-up"] = f"failed: {problem}" if problem else f"passed: {requests} requests"
    return outcomes


def _overflows(report: dict[str, Any]) -> bool:
    """Whether all is well but for the long text."""
    if list(report.get("undefined", {})) != [_LONG]:
        return False
    return not (
        report["mismatched"] or any(signature["faulty"] for signature in report["signatures"].values())
    )


def _reasons(report: dict[str, Any]) -> str:
    if "structure" in report:
        return f"the SavedModel is not sound: {'; '.join(report['structure'])}"
    if "error" in report:
        return f"the SavedModel cannot be served: {report['error']}"
    reasons = [f"no defined answer to {name}: {problem}" for name, problem in report["undefined"].items()]
    if report["foreign_modules"]:
        modules = ", ".join(report["foreign_modules"])
        reasons.append(f"the replay proves nothing, as Python itself imports {modules} when it starts")
    if report["mismatched"]:
        shown = "; ".join(_difference(mismatch) for mismatch in report["mismatches"][:_SHOWN])
        reasons.append(
            f"{report['mismatched']} of {report['replayed']} examples answered differently in the SavedModel:"
            f" {shown}"
        )
    for name, signature in report["signatures"].items():
        if signature["faulty"]:
            shown = "; ".join(map(_faulty, signature["faults"][:_SHOWN]))
            counts = f"{signature['faulty']} of {signature['answered']}"
            reasons.append(f"the signature {name} answers {counts} texts wrongly: {shown}")
    if report["warmup"]["problem"]:
        reasons.append(f"the warm-up requests cannot be answered: {report['warmup']['problem']}")
    return "; ".join(reasons)


def _faulty(fault: dict[str, str]) -> str:
    target = f", target {_quoted(fault['target'])}" if "target" in fault else ""
    return f"input {_quoted(fault['input'])}{target}: {fault['fault']}"


def _difference(mismatch: dict[str, Any]) -> str:
    evaluated, served = (
        f"{_quoted(mismatch[when]['prediction'])} (score {mismatch[when]['score']})"
        for when in ("evaluated", "served")
    )
    return f"input {_quoted(mismatch['input'])}, evaluated as {evaluated}, served as {served}"


def _quoted(text: str) -> str:
    quoted = repr(text)
    return quoted if len(quoted) <= _LONGEST else f"{quoted[:_LONGEST]}…"
