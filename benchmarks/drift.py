"""A drift monitor in one pass, beside what one would use instead.

Compares a reference of 100,000 rows with 10,000 and more current rows of one feature:
``--rows 10_000 10_000_000``. The monitor keeps one counter for each bin, whatever the
number of rows, and says between which bounds the Kolmogorov-Smirnov distance lies.
Beside it run ``scipy.stats.ks_2samp``, Evidently and whylogs on the same rows, up to
``--others-up-to`` of them: above that, the monitor runs alone. whylogs' wheels stop at
Python 3.12, so it gets an environment of its own from uv. The clock starts when the
reference is known: the monitor has counted it by then, the others cannot. Every
measurement is made in a process of its own; its memory is what the process needed
beyond the data.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

CHUNK = 1 << 14  # 128 kB of numbers: they stay in the processor's cache
BLOCK = 1_000_000  # rows that the monitor is given at a time
AIM = 40


class Monitor:
    """Counts values in uniform bins over the reference's middle; the outer bins are open.

    The width of the bins comes from the reference's quantiles at 0.1% and 99.9%, so
    that one outlier cannot make all bins too wide.
    """

    def __init__(self, reference: np.ndarray, bins: int = 1024) -> None:
        values = reference[np.isfinite(reference)]
        low, high = np.quantile(values, [0.001, 0.999])
        if low == high:
            low, high = low - 0.5, low + 0.5
        self.bins = bins
        self.scale = (bins - 2) / (high - low)
        self.offset = 1 - low * self.scale
        self.counts = np.zeros(bins, dtype=np.int64)
        self.missing = 0
        self.positions = np.empty(CHUNK)
        self.indices = np.empty(CHUNK, dtype=np.intp)
        self.update(values)
        self.expected, self.counts = self.counts, np.zeros(bins, dtype=np.int64)

    @property
    def rows(self) -> int:
        """How many values were counted; NaN and infinities are in ``missing`` instead."""
        return int(self.counts.sum())

    def update(self, values: np.ndarray) -> None:
        """Count more values; what was counted before is kept."""
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            positions = self.positions[: len(chunk)]
            indices = self.indices[: len(chunk)]
            np.multiply(chunk, self.scale, out=positions)
            positions += self.offset
            if not np.isfinite(positions.sum()):  # a sum is cheaper than a mask
                finite = np.isfinite(chunk)
                self.missing += int(len(chunk) - finite.sum())
                positions = positions[finite]
                indices = indices[: len(positions)]
            np.clip(positions, 0, self.bins - 1, out=positions)
            np.copyto(indices, positions, casting="unsafe")
            self.counts += np.bincount(indices, minlength=self.bins)

    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """The shares of the bins in the reference, and in what was counted."""
        return self.expected / self.expected.sum(), self.counts / self.counts.sum()

    def psi(self, floor: float = 1e-4) -> float:
        """Population stability index on these bins."""
        expected, actual = (np.maximum(shares, floor) for shares in self.shares())
        return float(np.sum((actual - expected) * np.log(actual / expected)))

    def ks_bounds(self) -> tuple[float, float]:
        """Between what values the KS distance of the two samples lies.

        At the edges of the bins the gap between the two distribution functions is
        known. Within a bin one function may rise by its share before the other does,
        so the gap can exceed that at the left edge by the one share, and that at the
        right edge by the other, at the most; the smaller of the two holds.
        """
        expected, actual = self.shares()
        right = np.cumsum(expected - actual)
        left = right - (expected - actual)
        above = np.minimum(left + expected, right + actual)
        below = np.minimum(-left + actual, -right + expected)
        return float(np.abs(right).max()), float(max(above.max(), below.max()))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**6, 10**7, 10**8])
    parser.add_argument("--others-up-to", type=int, default=10_000_000)
    parser.add_argument("--without", choices=["Evidently", "whylogs"], nargs="+", default=[])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if uneven := [rows for rows in chosen.rows if rows > BLOCK and rows % BLOCK]:
        parser.error(f"--rows above {BLOCK:,} are multiples of it, not {uneven[0]:,}")
    if chosen.measure:
        way, rows = chosen.measure
        print(json.dumps(measure(way, int(rows))))
        return
    left_out = dict.fromkeys(chosen.without, "as asked")
    if "whylogs" not in left_out:
        tried = subprocess.run([*PYTHON_WITH_WHYLOGS, "-c", "import whylogs"], capture_output=True)
        if tried.returncode:
            left_out["whylogs"] = tried.stderr.decode().strip()[-200:]
    table = Table()
    for name in ["rows", "way", "s", "rows/s", "more memory, MB", "answer", "times SciPy"]:
        table.add_column(name, no_wrap=True)
    for rows in chosen.rows:
        ways = {way: WAYS[way] for way in WAYS if way not in left_out}
        if rows > chosen.others_up_to:
            ways = {"monitor": WAYS["monitor"]}
        results = {way: in_a_process(way, rows) for way in ways}
        scipy = results.get(SCIPY, {}).get("seconds")
        for way, found in results.items():
            factor = f"{scipy / found['seconds']:.1f}" if scipy else ""
            speed = f"{rows / found['seconds']:.2g}"
            seconds, memory = f"{found['seconds']:.4f}", f"{found['megabytes']:.0f}"
            table.add_row(f"{rows:,}", way, seconds, speed, memory, found["answer"], factor)
    console = Console(width=120)
    console.print(table)
    for name, reason in left_out.items():
        console.print(f"{name}: left out, {reason}")
    console.print(f"aim: the monitor {AIM} times as fast as SciPy at 10,000,000 rows")


def in_a_process(way: str, rows: int) -> dict:
    """What ``measure`` finds in a fresh process."""
    python = PYTHON_WITH_WHYLOGS if way == "whylogs" else [sys.executable]
    command = [*python, __file__, "--measure", way, str(rows)]
    env = os.environ | {"WHYLOGS_NO_ANALYTICS": "True"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{way} with {rows:,} rows failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(way: str, rows: int) -> dict:
    """Seconds, memory beyond the data, and the answer of one way."""
    reference = np.random.default_rng(0).normal(size=100_000)
    rng = np.random.default_rng(1)
    seconds, megabytes, answer = WAYS[way](reference, rng, rows)
    return {"seconds": seconds, "megabytes": megabytes, "answer": answer}


def peak() -> float:
    """The most memory that this process has had so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def by_monitor(reference: np.ndarray, rng: np.random.Generator, rows: int) -> tuple:
    """The data arrive in blocks, as from a stream, and none of them is kept."""
    monitor = Monitor(reference)
    block = rng.normal(0.05, 1, min(rows, BLOCK))
    monitor.update(block[:1000])
    before, seconds = peak(), 0.0
    monitor.counts[:] = 0
    for _ in range(rows // len(block)):
        started = time.perf_counter()
        monitor.update(block)
        seconds += time.perf_counter() - started
        rng.standard_normal(out=block)
        block += 0.05
    started = time.perf_counter()
    low, high = monitor.ks_bounds()
    seconds += time.perf_counter() - started
    return seconds, peak() - before, f"D in {low:.4f} to {high:.4f}"


def by_scipy(reference: np.ndarray, rng: np.random.Generator, rows: int) -> tuple:
    """Two sorted copies of everything."""
    from scipy import stats

    current = rng.normal(0.05, 1, rows)
    stats.ks_2samp(reference[:100], current[:100], method="asymp")
    before, started = peak(), time.perf_counter()
    distance = stats.ks_2samp(reference, current, method="asymp").statistic
    return time.perf_counter() - started, peak() - before, f"D = {distance:.4f}"


def by_evidently(reference: np.ndarray, rng: np.random.Generator, rows: int) -> tuple:
    """A report with one number in it."""
    import pandas as pd
    from evidently import Report
    from evidently.metrics import ValueDrift

    reference_frame = pd.DataFrame({"x": reference})
    current = pd.DataFrame({"x": rng.normal(0.05, 1, rows)})
    report = Report([ValueDrift(column="x", method="ks")])
    report.run(current[:100], reference_frame[:100])
    before, started = peak(), time.perf_counter()
    p_value = float(report.run(current, reference_frame).dict()["metrics"][0]["value"])
    return time.perf_counter() - started, peak() - before, f"p = {p_value:.2g}"


def by_whylogs(reference: np.ndarray, rng: np.random.Generator, rows: int) -> tuple:
    """One profile; it gives quantiles, from which distances follow."""
    import pandas as pd
    import whylogs

    current = pd.DataFrame({"x": rng.normal(0.05, 1, rows)})
    whylogs.log(current[:100])
    before, started = peak(), time.perf_counter()
    view = whylogs.log(current).view()
    median = view.get_column("x").get_metric("distribution").median
    return time.perf_counter() - started, peak() - before, f"median = {median:.4f}"


PYTHON_WITH_WHYLOGS = [
    *(str(Path(sys.executable).with_name("uv")), "run", "--quiet", "--no-project"),
    *("--python", ">=3.11,<3.13", "--with", "whylogs==1.6.4"),
    *(
        word
        for name in ("numpy", "pandas", "rich")
        for word in ("--with", f"{name}=={version(name)}")
    ),
    "python",
]
SCIPY = "scipy.stats.ks_2samp"
WAYS = {"monitor": by_monitor, SCIPY: by_scipy, "Evidently": by_evidently, "whylogs": by_whylogs}

if __name__ == "__main__":
    main()
