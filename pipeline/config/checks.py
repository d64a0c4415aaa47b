"""What the types alone cannot say: whether the sections fit the task, and whether the files are there.

Nearly all checks take the task and one section, so that the sound sections are checked even while others are
not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from components.evaluate.config import EvaluateConfig
from components.evaluate.metrics import metric_info, metric_names
from components.ingest.config import IngestConfig
from components.ingest.split_config import FoldSplit, GroupSplit, TimeSplit
from components.ingest.splits import held_out, reads_train
from components.models.attentions import ATTENTIONS
from components.models.config import ModelConfig, readout_problem
from components.models.decode import DecodeConfig
from components.models.decoders import DecoderConfig
from components.strict import FIELDS, Task
from components.tokenize.config import TokenizeConfig
from components.train.config import TrainConfig
from pipeline.config.confidence_checks import check_calibration_split, check_confidence
from pipeline.config.name_checks import check_experiment, check_name
from pipeline.config.problems import KeyPath, Problem, did_you_mean, joined, quoted, shown
from pipeline.config.runner_checks import check_data, check_root
from pipeline.config.train_checks import (
    check_devices,
    check_readout,
    check_sweep,
    check_train,
    check_validation,
)
from pipeline.config.vector_checks import check_vectors

TEXTS: dict[Task, tuple[str, ...]] = {"classification": ("text",), "seq2seq": ("source", "target")}
"""The columns that have a tokenizer."""


def _check_files(task: Task, ingest: IngestConfig) -> Iterator[Problem]:
    fields = FIELDS[task]
    by_field = f"a mapping from {joined(fields, 'and')} to a file each"
    if not isinstance(ingest.files, dict):
        if ingest.format == "text":
            yield Problem(("ingest", "files"), f"format text expects, for each split, {by_field}")
        return
    if "train" not in ingest.files:
        message = "names no file to train on: give a path, a glob, or `files: {train: ...}`"
        yield Problem(("ingest", "files"), message)
    for split, source in ingest.files.items():
        path: KeyPath = ("ingest", "files", split)
        if not source:
            yield Problem(path, "received nothing, expected at least one file")
        elif not isinstance(source, dict):
            if ingest.format == "text":
                yield Problem(path, f"format text expects {by_field}")
        elif ingest.format not in ("auto", "text"):
            yield Problem(path, f"format {ingest.format} has all fields in one file; received a mapping")
        else:
            for field in source:
                if field not in fields:
                    yield Problem((*path, field), _unknown_field(task, field))
            for field in fields:
                if field not in source:
                    yield Problem((*path, field), f"missing; expected {by_field}")


def _check_columns(task: Task, ingest: IngestConfig) -> Iterator[Problem]:
    section: KeyPath = ("ingest", "columns")
    columns = ingest.columns
    if ingest.format == "text" and ingest.keep:
        yield Problem(("ingest", "keep"), "format text has no columns to keep; remove it")
    if columns and ingest.format == "text":
        yield Problem(
            section, "format text has no columns; remove it, and name the file of each field in files"
        )
        return
    for field in columns:
        if field not in FIELDS[task]:
            yield Problem((*section, field), _unknown_field(task, field))
    read, produced = FIELDS[task]
    if columns.get(read, read) == columns.get(produced, produced):
        column = shown(columns.get(produced, produced))
        yield Problem(
            (*section, produced), f"received {column}, which {read} is read from; expected another column"
        )
    for field, other in ((read, produced), (produced, read)):
        if isinstance(columns.get(field), int) and other not in columns:
            message = (
                f"missing; {field} has a position, so the files have no names to find it by; give its own"
            )
            yield Problem((*section, other), message)


def _check_split(task: Task, ingest: IngestConfig) -> Iterator[Problem]:
    section: KeyPath = ("ingest", "split")
    split = ingest.split
    if split.type == "stratified":
        if task != "classification":
            message = f"received 'stratified', but {task} has no labels; expected 'hash', 'group' or 'time'"
            yield Problem((*section, "type"), message)
        elif not held_out(ingest) or not reads_train(ingest):
            message = "there is nothing to split: every split has files of its own, or no fraction in holdout"
            yield Problem(section, f"{message}; remove it")
    if isinstance(split, FoldSplit):
        if split.stratified and task != "classification":
            yield Problem((*section, "stratified"), f"{task} has no labels; remove it")
        if not reads_train(ingest) or (isinstance(ingest.files, dict) and "test" in ingest.files):
            yield Problem(section, "folds are taken from train; expected files for it, and none for test")
    if not isinstance(split, GroupSplit | TimeSplit | FoldSplit) or split.column is None:
        return
    if ingest.format == "text":
        yield Problem(section, "format text has no column to split by; remove it")
        return
    path = (*section, "column")
    if isinstance(split.column, str) and not split.column:
        yield Problem(path, "received an empty text, expected the name of a column")
    read, produced = FIELDS[task]
    if isinstance(split.column, int) and not ingest.columns:
        message = f"received {split.column}, a position, but {read} and {produced} have none; give theirs in"
        yield Problem(path, f"{message} columns, or the column's name")
    if not isinstance(split, TimeSplit) and split.column == ingest.columns.get(produced, produced):
        message = (
            f"received {shown(split.column)}, which {produced} is read from: no {produced} of test would"
        )
        yield Problem(path, f"{message} be in train; expected another column")


def _unknown_field(task: Task, field: str) -> str:
    fields = FIELDS[task]
    return f"unknown{did_you_mean(field, fields) or ';'} {task} has {joined(fields, 'and')}"


def _check_tokenize(task: Task, tokenize: TokenizeConfig) -> Iterator[Problem]:
    texts = TEXTS[task]
    for field, tokenizer in tokenize:
        if field not in texts and tokenizer is not None:
            yield Problem(("tokenize", field), f"{task} has no such text; expected {joined(texts, 'and')}")


def _check_model(task: Task, model: ModelConfig) -> Iterator[Problem]:
    if problem := readout_problem(model, task):
        yield Problem(("model", "readout"), problem)
    for key, problem in model.encoder.check_model(task, model):
        yield Problem(("model", *key), problem)
    if task == "classification":
        for part in ("attention", "memory", "decoder", "bridge", "tied_softmax"):
            if getattr(model, part) != ModelConfig.model_fields[part].default:
                yield Problem(("model", part), "classification has none; remove it, or set task to seq2seq")
        return
    if model.pooling is not None:
        yield Problem(("model", "pooling"), "seq2seq has none; remove it, or set task to classification")
    if model.decoder is None:
        written = "attention needs" if model.attention else "seq2seq expects"
        yield Problem(("model", "decoder"), f"missing; {written} a decoder, such as {{type: gru}}")
    else:
        yield from _check_decoder(model, model.decoder)


def _check_decoder(model: ModelConfig, decoder: DecoderConfig) -> Iterator[Problem]:
    if decoder.input_feeding and model.attention_order == "before":
        received = f"attention {model.attention.type}" if model.attention else "no attention"
        after = joined(
            [name for name, kind in ATTENTIONS.types.items() if getattr(kind, "order", "") == "after"]
        )
        yield Problem(
            ("model", "decoder", "input_feeding"),
            f"received true with {received}, expected attention {after}, which looks at the source after the"
            f" cells; remove it, or set attention.type to {after}",
        )
    states = model.encoder.final_states()
    if states and model.attention:
        for key, problem in model.attention.check_widths(states[-1][0], decoder.units):
            yield Problem(("model", "attention", *key), problem)
    wanted = [[decoder.units] * decoder.hidden_states] * decoder.num_layers
    if states and model.bridge == "copy" and states != wanted:
        yield Problem(
            ("model", "bridge"),
            f"received 'copy' of {_in_words(states)} to {_in_words(wanted)}, expected the same of both; make"
            " layers and units alike, or set bridge to dense",
        )


def _in_words(states: list[list[int]]) -> str:
    return f"{len(states)} x {len(states[0])} states of width {states[0][0]}"


def _check_decode(task: Task, decode: DecodeConfig | None) -> Iterator[Problem]:
    if task == "classification" and decode is not None:
        yield Problem(("decode",), "classification decodes nothing; remove it, or set task to seq2seq")


def _check_coverage(model: ModelConfig, decode: DecodeConfig | None) -> Iterator[Problem]:
    if decode is not None and decode.coverage_penalty and model.attention is None:
        message = f"received {decode.coverage_penalty}, but the model has no attention; remove it, or set"
        yield Problem(("decode", "coverage_penalty"), f"{message} model.attention")


def _check_read_text(task: Task, tokenize: TokenizeConfig, model: ModelConfig) -> Iterator[Problem]:
    field = FIELDS[task][0]
    tokenizer = getattr(tokenize, field)
    if tokenizer is not None:
        for key, problem in model.encoder.check_tokenizer(tokenizer):
            yield Problem(("tokenize", field, *key), problem)


def _check_evaluate(task: Task, evaluate: EvaluateConfig) -> Iterator[Problem]:
    fitting = metric_names(task)
    for index, metric in enumerate(evaluate.metrics):
        if task not in metric_info(metric).tasks:
            message = f"'{metric}' does not fit {task}; expected {quoted(fitting)}"
            yield Problem(("evaluate", "metrics", index), message)
    if evaluate.baseline is not None and task != "classification":
        message = f"received '{evaluate.baseline}', which predicts labels, but {task} has none; remove it"
        yield Problem(("evaluate", "baseline"), message)
    for metric in evaluate.thresholds:
        path: KeyPath = ("evaluate", "bless", metric)
        if task not in metric_info(metric).tasks:
            yield Problem(path, f"does not fit {task}; expected {quoted(fitting)}")


def _check_slices(task: Task, ingest: IngestConfig, evaluate: EvaluateConfig) -> Iterator[Problem]:
    known = ["length", "unknown", *(["label"] if task == "classification" else []), *ingest.keep]
    for index, column in enumerate(evaluate.slices):
        path: KeyPath = ("evaluate", "slices", index)
        if column in evaluate.slices[:index]:
            yield Problem(path, f"'{column}' is there twice; remove one")
        elif column not in known:
            advice = did_you_mean(column, known) or "; add the column to ingest.keep, or remove it"
            yield Problem(path, f"received '{column}', expected {quoted(known)}{advice}")


def _check_forgetting(evaluate: EvaluateConfig, train: TrainConfig) -> Iterator[Problem]:
    if evaluate.remembers and train.init_from is None:
        message = (
            "has a max_forgetting, which compares with the initial model of a warm start; remove it, or set"
        )
        yield Problem(("evaluate", "bless"), f"{message} train.init_from")


def _check_champion(evaluate: EvaluateConfig, enabled: bool) -> Iterator[Problem]:
    if evaluate.compares and not enabled:
        message = (
            "has a max_regression, which compares with the champion in MLflow's registry; remove it, or set"
        )
        yield Problem(("evaluate", "bless"), f"{message} tracking.enabled to true")


def _check_held_out(task: Task, ingest: IngestConfig) -> Iterator[Problem]:
    files = ingest.files if isinstance(ingest.files, dict) else {}
    if not {*files, *ingest.holdout} & {"validation", "test"}:
        yield Problem(
            ("ingest", "holdout"),
            "leaves nothing to evaluate on; expected files or a fraction for test or validation",
        )


_CHECKS: tuple[tuple[str, Callable[[Task, Any], Iterator[Problem]]], ...] = (
    ("ingest", _check_files),
    ("ingest", _check_columns),
    ("ingest", _check_held_out),
    ("ingest", _check_split),
    ("tokenize", _check_tokenize),
    ("model", _check_model),
    ("train", check_train),
    ("decode", _check_decode),
    ("evaluate", _check_evaluate),
    ("evaluate", check_confidence),
)


def misfits(task: Task, sections: Mapping[str, Any]) -> list[Problem]:
    """Returns what in `sections` does not fit `task`.

    Args:
        task: What the pipeline learns.
        sections: Validated sections of a `PipelineConfig` by name; those that are left out are not checked.
    """
    problems = [
        problem for name, check in _CHECKS if name in sections for problem in check(task, sections[name])
    ]
    if "tracking" in sections and sections["tracking"].experiment is not None:
        problems += check_experiment(sections["tracking"].experiment)
    if {"name", "root", "export"} <= sections.keys():
        problems += check_name(sections["name"], sections["root"], sections["export"].directory)
    if {"runner", "root"} <= sections.keys():
        problems += check_root(sections["runner"], sections["root"])
    if {"runner", "ingest"} <= sections.keys():
        problems += check_data(sections["runner"], sections["ingest"])
    if {"runner", "model"} <= sections.keys():
        problems += check_vectors(sections["runner"], sections["model"])
    if {"ingest", "train"} <= sections.keys():
        problems += check_validation(sections["ingest"], sections["train"])
    if {"ingest", "train", "sweep"} <= sections.keys():
        problems += check_sweep(sections["ingest"], sections["train"], sections["sweep"])
    if {"model", "train"} <= sections.keys():
        problems += check_readout(sections["model"], sections["train"])
        problems += check_devices(sections["model"], sections["train"])
    if {"tokenize", "model"} <= sections.keys():
        problems += _check_read_text(task, sections["tokenize"], sections["model"])
    if {"evaluate", "tracking"} <= sections.keys():
        problems += _check_champion(sections["evaluate"], sections["tracking"].enabled)
    if {"evaluate", "train"} <= sections.keys():
        problems += _check_forgetting(sections["evaluate"], sections["train"])
    if {"ingest", "evaluate"} <= sections.keys():
        problems += _check_slices(task, sections["ingest"], sections["evaluate"])
        problems += check_calibration_split(sections["ingest"], sections["evaluate"])
    if task == "seq2seq" and {"model", "decode"} <= sections.keys():
        problems += _check_coverage(sections["model"], sections["decode"])
    return problems
