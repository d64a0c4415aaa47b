"""What 1 TB of text asks of the store, the record and the launcher, from a thousandth of it.

    python benchmarks/scale.py [--megabytes 1000] [--files 8] [--many 1000]

Text of that size is put into an S3 server on 127.0.0.1 (tests/remote/install.sh), ingested and tokenized by
the command line through a proxy that counts requests and bytes. Then plans are made of many small files. What
grows with the text is multiplied; what grows with time or with workers is given per hour or per worker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from remote.proxy import FaultyProxy  # noqa: E402
from remote.servers import serving_s3  # noqa: E402

BUCKET = "scale"
TERABYTE = 10**12
GROUPS = {
    "the text": r"/data/",
    # The launcher looks for a manifest until it is there.
    "the record": r"/runs/runs/|runs%2Fruns|GET .*-[0-9]+\.json",
    "artifacts": r"/artifacts/|artifacts%2F",
}
_MEASURE = (
    "import resource, subprocess, sys;"
    "code = subprocess.run(sys.argv[1:]).returncode;"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)"
)


def write_text(path: Path, size: int, draw: random.Random, words: list[str]) -> int:
    """Writes labelled lines of about 200 bytes; returns how many."""
    lines = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        while file.tell() < size:
            block = [
                f"{' '.join(draw.choices(words, k=28))} {lines + i}\t{draw.choice('abc')}"
                for i in range(1000)
            ]
            file.write("\n".join(block) + "\n")
            lines += 1000
    return lines


def configure(folder: Path, name: str, pattern: str) -> Path:
    """Writes a configuration whose data and root are in the bucket."""
    path = folder / f"{name}.yaml"
    config = {
        "name": name,
        "task": "classification",
        "root": f"s3://{BUCKET}/{name}/runs",
        "ingest": {"files": pattern},
        "tokenize": {"text": {"type": "words"}},
        "model": {"encoder": {"type": "gru"}},
        "tracking": {"enabled": False},
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def measure(*arguments: str) -> tuple[float, float]:
    """Runs the command line; returns seconds and peak memory in MiB."""
    began = time.monotonic()
    command = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    if done.returncode:
        sys.exit(f"rnnpipe {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return time.monotonic() - began, int(done.stderr.split()[-1]) / 1024


class Counts:
    """What came through the proxy since the last look."""

    def __init__(self, proxy: FaultyProxy) -> None:
        self._proxy = proxy
        self.take()

    def take(self) -> tuple[Counter[tuple[str, str]], int, int]:
        """Returns the requests by group and method, and the bytes that were read and written."""
        proxy = self._proxy
        requests: Counter[tuple[str, str]] = Counter()
        for line in proxy.log:
            method, _, path = line.partition(" ")
            kind = "LIST" if method == "GET" and "list-type=" in path else method
            group = next((name for name, pattern in GROUPS.items() if re.search(pattern, line)), "other")
            requests[group, kind] += 1
        read, written = proxy.sent.total(), proxy.received.total()
        proxy.log.clear()
        proxy.sent.clear()
        proxy.received.clear()
        return requests, read, written


def told(requests: Counter[tuple[str, str]], group: str, factor: float = 1.0) -> str:
    """The requests of a group, for people."""
    kinds = (
        (kind, round(factor * count)) for (name, kind), count in sorted(requests.items()) if name == group
    )
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds) or "none"


def measure_text(counts: Counts, folder: Path, place, files, size: int, number: int) -> None:
    """Ingests and tokenizes; prints what that took, and what 1 TB takes."""
    draw = random.Random(1)
    words = [
        "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(20_000)
    ]
    lines = 0
    for index in range(number):
        path = folder / f"{index}.tsv"
        lines += write_text(path, size // number, draw, words)
        files.upload(path, place / "data" / path.name)
        path.unlink()
    counts.take()
    factor = TERABYTE / size
    print(
        f"{size / 1e6:,.0f} MB of text, {lines:,} lines in {number} files; 1 TB is {factor:,.0f} times that"
    )
    config = configure(folder, "text", f"{place}/data/*.tsv")
    for stage in ("ingest", "tokenize"):
        seconds, peak = measure("run", str(config), "--until", stage)
        requests, read, written = counts.take()
        entries = files.entries(files.resolve(f"s3://{BUCKET}/text/runs/artifacts/{stage}"))
        counts.take()
        manifests = [entry for entry in entries if re.search(r"-[0-9]+\.json$", entry.path.name)]
        print(f"\n{stage}: {seconds:,.0f} s, {peak:,.0f} MiB at most in one process")
        for group in ("the text", "artifacts"):
            print(f"  requests for {group}: {told(requests, group)}; 1 TB: {told(requests, group, factor)}")
        record, hourly = told(requests, "the record"), told(requests, "the record", 3600 / seconds)
        print(f"  for the record: {record}; an hour: {hourly}")
        print(f"  read {read / 1e6:,.0f} MB, written {written / 1e6:,.0f} MB")
        mean = sum(entry.size for entry in entries) / len(entries) / 1e6
        print(f"  {len(entries)} objects of {mean:.1f} MB; 1 TB: {len(entries) * factor:,.0f}", end="; ")
        length = manifests[0].size
        print(f"the manifest {length / 1e3:,.1f} kB, 1 TB: {length * factor / 1e6:,.1f} MB", flush=True)


def measure_files(counts: Counts, folder: Path, place, files, number: int) -> None:
    """Plans over few and many files; prints what each file costs."""
    print(f"\n{'files':>7} {'plan, s':>8} {'MiB':>6} {'requests':>9}")
    for many in (10, number):
        for index in range(many):
            line = f"text\tlabel\n{index} a\ta\n".encode()
            files.write(place / f"many-{many}" / f"{index:05d}.tsv", line)
        counts.take()
        config = configure(folder, f"many-{many}", f"{place}/many-{many}/*.tsv")
        seconds, peak = measure("plan", str(config))
        requests, _, _ = counts.take()
        print(f"{many:>7,} {seconds:8.1f} {peak:6,.0f} {requests.total():>9,}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--many", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving_s3(folder) as environment, FaultyProxy(environment["AWS_ENDPOINT_URL"]) as proxy:
            os.environ.update(
                environment, AWS_ENDPOINT_URL=proxy.address, RNNPIPE_CACHE=str(folder / "cache")
            )
            from components import files

            place = files.resolve(f"s3://{BUCKET}/user")
            place.fs.mkdir(BUCKET)
            counts = Counts(proxy)
            measure_text(counts, folder, place, files, given.megabytes * 10**6, given.files)
            measure_files(counts, folder, place, files, given.many)


if __name__ == "__main__":
    main()
