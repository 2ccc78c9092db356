"""The statistics that lesson 05 writes, its benchmark's error bound, and the monitoring stack."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from scipy import stats
from scipy.spatial.distance import jensenshannon
from waiting import eventually, free_port

from authoring.source import masters
from course import ROOT

STACK = ROOT / "docker/monitoring"
DASHBOARD = json.loads((STACK / "grafana/dashboards/service.json").read_text())
QUERIES = [
    (panel["title"], target["refId"], target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
TRAINED = ["petal_length", "petal_width", "sepal_length", "sepal_width"]


def load(name: str, path: Path):
    """The module in the file ``path``."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drift(tmp_path_factory):
    """The file drift.py, exactly as the lesson's cells write it."""
    lesson = next(master for master in masters() if master.name == "05_monitoring")
    text = ""
    for cell in lesson.notebook().cells:
        head, _, body = cell.source.partition("\n")
        if cell.cell_type == "code" and head in ("%%writefile drift.py", "%%writefile -a drift.py"):
            text += body + "\n"
    path = tmp_path_factory.mktemp("drift") / "drift.py"
    path.write_text(text)
    return load("lesson_drift", path)


@pytest.fixture(scope="module")
def monitor():
    """benchmarks/drift.py."""
    return load("benchmark_drift", ROOT / "benchmarks/drift.py")


class TestStatistics:
    """What a lesson teaches must be right: known values and extremes."""

    def test_ks_of_samples_that_can_be_counted(self, drift):
        assert drift.ks([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
        assert drift.ks([1, 2, 3], [4, 5, 6]) == 1
        assert drift.ks([1, 2, 2, 3], [1, 2, 2, 3]) == 0

    def test_wasserstein_of_a_shift_is_the_shift_in_the_features_unit(self, drift):
        values = np.array([0.0, 1.0, 5.0, 9.0])
        assert drift.wasserstein(values, values + 2.5) == pytest.approx(2.5)
        assert drift.wasserstein(1000 * values, 1000 * values + 2500) == pytest.approx(2500)

    def test_psi_and_js_of_shares_that_can_be_worked_out(self, drift):
        assert drift.psi([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.25 * np.log(3))
        assert drift.js([1, 0], [0, 1]) == 1  # in bits: 1 is the most
        assert drift.js([0.5, 0.5], [1, 0]) == pytest.approx(1.5 - 0.75 * np.log2(3), abs=1e-12)

    @pytest.mark.parametrize("size", [3, 40, 1000])
    def test_agrees_with_scipy_on_samples_with_ties(self, drift, size):
        rng = np.random.default_rng(size)
        a, b = rng.normal(size=size).round(1), rng.normal(0.5, 2, 2 * size).round(1)
        p, q = (drift.shares(x, drift.edges(a)) for x in (a, b))
        assert drift.ks(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)
        assert drift.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-12)
        assert drift.js(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)

    def test_an_empty_bin_counts_by_the_floor_and_stays_finite(self, drift):
        for actual in ([0, 1], [1, 0]):
            expected = 0.4999 * np.log(0.5 / 1e-4) + 0.5 * np.log(2)
            assert drift.psi([0.5, 0.5], actual) == pytest.approx(expected)
        assert drift.psi([0.5, 0.5], [0, 1], floor=1e-6) > drift.psi([0.5, 0.5], [0, 1])
        assert np.isfinite(drift.js([0.5, 0.5, 0], [0, 1, 0]))

    @pytest.mark.parametrize("moved_to", [4.9, 5.1])
    def test_a_constant_feature_that_moves_is_seen_in_both_directions(self, drift, moved_to):
        reference, current = [5.0] * 100, [moved_to] * 100
        inner = drift.edges(reference)
        e, a = drift.shares(reference, inner), drift.shares(current, inner)
        assert drift.psi(e, a) > 10
        assert drift.js(e, a) == 1
        assert drift.ks(reference, current) == 1
        assert drift.wasserstein(reference, current) == pytest.approx(0.1)

    def test_a_constant_feature_that_stays_has_no_drift(self, drift):
        inner = drift.edges([5.0] * 100)
        same = drift.shares([5.0] * 7, inner)
        assert drift.psi(drift.shares([5.0] * 100, inner), same) == 0
        assert drift.ks([5.0] * 100, [5.0] * 7) == drift.wasserstein([5.0], [5.0, 5.0]) == 0

    def test_values_below_a_reference_that_is_mostly_zero_are_seen(self, drift):
        reference = [0.0] * 90 + list(range(1, 11))
        inner = drift.edges(reference)
        e = drift.shares(reference, inner)
        assert drift.psi(e, drift.shares([-1.0] * 100, inner)) > 1

    def test_gaps_and_infinities_are_left_out(self, drift):
        gappy = [np.nan, 1, 2, np.nan, 3, np.inf, -np.inf]
        assert drift.ks(gappy, [1, 2, 3]) == 0
        assert drift.wasserstein([1, 2, 3], gappy) == 0
        inner = drift.edges(gappy)
        assert drift.shares(gappy, inner).tolist() == drift.shares([1, 2, 3], inner).tolist()

    @pytest.mark.parametrize("empty", [[], [np.nan, np.nan]])
    def test_a_column_without_values_is_an_error_that_says_so(self, drift, empty):
        for call in (
            lambda: drift.ks([1, 2], empty),
            lambda: drift.wasserstein(empty, [1, 2]),
            lambda: drift.shares(empty, [1.5]),
            lambda: drift.edges(empty),
        ):
            with pytest.raises(ValueError, match="no values"):
                call()

    def test_three_rows_are_enough_for_an_answer(self, drift):
        reference = np.arange(1000.0)
        inner = drift.edges(reference)
        e, a = drift.shares(reference, inner), drift.shares([10.0, 500.0, 990.0], inner)
        assert a.sum() == pytest.approx(1)
        assert np.count_nonzero(a) == 3
        assert 1 < drift.psi(e, a) < 10  # noise: seven of ten bins are empty
        assert drift.ks(reference, [10.0, 500.0, 990.0]) < 0.35

    def test_psi_without_drift_is_about_bins_less_one_over_rows(self, drift):
        rng = np.random.default_rng(0)
        even = np.full(10, 0.1)
        noise = [drift.psi(even, top / 500) for top in rng.multinomial(500, even, 1000)]
        assert np.mean(noise) == pytest.approx(9 / 500, rel=0.1)

    def test_agrees_with_evidently_given_its_bins_and_units(self, drift):
        from evidently.legacy.calculations.stattests import (
            jensenshannon_stat_test,
            psi_stat_test,
            wasserstein_stat_test,
        )
        from evidently.legacy.core import ColumnType

        rng = np.random.default_rng(1)
        a, b = pd.Series(rng.normal(size=2000)), pd.Series(rng.normal(0.2, 1.1, 3000))
        steps = np.histogram_bin_edges(np.concatenate([a, b]), bins="sturges")
        e, c = (np.histogram(x, steps)[0] / len(x) for x in (a, b))

        def theirs(test):
            return test.func(a, b, ColumnType.Numerical, 0.1)[0]

        assert drift.psi(e, c) == pytest.approx(theirs(psi_stat_test), abs=1e-9)
        distance = np.sqrt(drift.js(e, c) * np.log(2))
        assert distance == pytest.approx(theirs(jensenshannon_stat_test), abs=1e-9)
        normed = drift.wasserstein(a, b) / a.std(ddof=0)
        assert normed == pytest.approx(theirs(wasserstein_stat_test), abs=1e-9)


SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "shifted": lambda rng, n: rng.normal(0.3, 1.2, n),
    "heavy tails": lambda rng, n: rng.standard_t(1.5, n),
    "ties": lambda rng, n: rng.normal(size=n).round(1),
    "far outside": lambda rng, n: rng.normal(50, 1, n),
    "constant": lambda rng, n: np.full(n, 0.25),
    "gaps": lambda rng, n: np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
}


class TestOnePassMonitor:
    """benchmarks/drift.py: bounds that hold, whatever the data."""

    @pytest.mark.parametrize("current", SHAPES)
    @pytest.mark.parametrize("reference", ["normal", "heavy tails", "ties", "constant"])
    def test_the_true_distance_lies_within_the_bounds(self, monitor, reference, current):
        rng = np.random.default_rng(7)
        a, b = SHAPES[reference](rng, 5000), SHAPES[current](rng, 8000)
        watch = monitor.Monitor(a, bins=64)
        for chunk in np.array_split(b, 13):
            watch.update(chunk)
        low, high = watch.ks_bounds()
        true = stats.ks_2samp(a, b[np.isfinite(b)], method="asymp").statistic
        assert low - 1e-12 <= true <= high + 1e-12
        assert watch.missing == np.isnan(b).sum()

    def test_more_bins_narrow_the_bounds(self, monitor):
        rng = np.random.default_rng(3)
        a, b = rng.normal(size=20_000), rng.normal(0.1, 1, 20_000)
        widths = []
        for bins in (16, 256, 4096):
            watch = monitor.Monitor(a, bins)
            watch.update(b)
            low, high = watch.ks_bounds()
            widths.append(high - low)
        assert widths[0] > 3 * widths[1] > 9 * widths[2]
        assert widths[2] < 0.005

    def test_chunks_do_not_matter(self, monitor):
        rng = np.random.default_rng(4)
        a, b = rng.normal(size=1000), rng.normal(size=100_003)
        one, many = monitor.Monitor(a), monitor.Monitor(a)
        one.update(b)
        for chunk in np.array_split(b, 1000):
            many.update(chunk)
        assert np.array_equal(one.counts, many.counts)
        assert one.rows == many.rows == 100_003

    def test_psi_is_that_of_the_lesson_on_the_same_bins(self, monitor, drift):
        rng = np.random.default_rng(5)
        a, b = rng.normal(size=4000), rng.normal(0.2, 1, 4000)
        watch = monitor.Monitor(a, bins=20)
        watch.update(b)
        assert watch.psi() == pytest.approx(drift.psi(*watch.shares()), abs=1e-12)

    @pytest.mark.slow
    def test_the_table_names_what_was_not_measured(self):
        command = [
            sys.executable,
            "benchmarks/drift.py",
            "--rows",
            "10_000",
            "--without",
            "Evidently",
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "scipy.stats.ks_2samp" in done.stdout
        assert "Evidently: left out" in done.stdout
        assert "whylogs" in done.stdout


class TestFiles:
    """What can be said about the configuration without running it."""

    def test_every_panel_asks_the_datasource_that_is_provisioned(self):
        path = STACK / "grafana/provisioning/datasources/prometheus.yml"
        provisioned = {source["uid"] for source in yaml.safe_load(path.read_text())["datasources"]}
        assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} <= provisioned

    def test_grafana_finds_its_dashboards_where_they_are_mounted(self):
        path = STACK / "grafana/provisioning/dashboards/course.yml"
        wanted = yaml.safe_load(path.read_text())["providers"][0]["options"]["path"]
        services = yaml.safe_load((STACK / "compose.yaml").read_text())["services"]
        mounts = [volume.split(":")[:2] for volume in services["grafana"]["volumes"]]
        [source] = [source for source, target in mounts if target == wanted]
        assert (STACK / source / "service.json").exists()

    def test_panels_have_titles_units_and_room_of_their_own(self):
        taken = set()
        for panel in DASHBOARD["panels"]:
            assert panel["title"]
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells

    def test_nothing_is_published_beyond_this_machine(self):
        services = yaml.safe_load((STACK / "compose.yaml").read_text())["services"]
        published = [port for service in services.values() for port in service.get("ports", [])]
        assert len(published) == 4
        assert all(port.startswith("127.0.0.1:") for port in published)


def promtool(rules: Path) -> subprocess.CompletedProcess:
    """Try the rules in a folder on made-up histories, in the image that the stack runs."""
    image = yaml.safe_load((STACK / "compose.yaml").read_text())["services"]["prometheus"]["image"]
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "/bin/promtool"]
    command += ["--volume", f"{rules}:/rules:ro", image, "test", "rules", "/rules/rules.test.yml"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.engine
class TestRules:
    """Which alerts the rules raise on made-up histories."""

    def test_each_alert_fires_where_it_should_and_nowhere_else(self):
        done = promtool(STACK / "prometheus")
        assert done.returncode == 0, done.stdout + done.stderr
        rules = yaml.safe_load((STACK / "prometheus/rules.yml").read_text())["groups"]
        alerts = {rule["alert"] for group in rules for rule in group["rules"] if "alert" in rule}
        tests = yaml.safe_load((STACK / "prometheus/rules.test.yml").read_text())["tests"]
        asked = [case for test in tests for case in test["alert_rule_test"]]
        assert alerts == {case["alertname"] for case in asked if case["exp_alerts"]}
        assert alerts == {case["alertname"] for case in asked if not case["exp_alerts"]}

    @pytest.mark.parametrize(
        ("right", "wrong"), [("> 0.25 and", "> 5 and"), (">= 200", ">= 20"), ("> 0.05", "> 0.005")]
    )
    def test_a_rule_with_another_limit_is_noticed(self, tmp_path, right, wrong):
        shutil.copytree(STACK / "prometheus", tmp_path, dirs_exist_ok=True)
        text = (tmp_path / "rules.yml").read_text()
        assert text.count(right) == 1
        (tmp_path / "rules.yml").write_text(text.replace(right, wrong))
        done = promtool(tmp_path)
        assert done.returncode != 0
        assert "FAILED" in done.stdout + done.stderr


class Stack:
    """The stack of docker/monitoring, running under a name of its own."""

    project = "course-test-monitoring"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = f"{self.project}:1.0"
        names = ["PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT"]
        self.ports = {name: free_port() for name in names}
        self.env = os.environ | {name: str(port) for name, port in self.ports.items()}
        self.env |= {"SERVICE_IMAGE": self.image, "LESSON": "test-monitoring"}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def compose(self, *command: str) -> str:
        file = str(self.folder / "monitoring/compose.yaml")
        return self.run("docker", "compose", "-p", self.project, "-f", file, *command)

    def start(self) -> None:
        shutil.copytree(STACK, self.folder / "monitoring")
        shutil.copytree(ROOT / "docker/service", self.folder / "service")
        model = str(self.folder / "service/model")
        self.run(sys.executable, "service/train.py", "--version", "1.0", "--out", model)
        label = "mlops.course=test-monitoring"
        self.run("docker", "build", "--quiet", "--label", label, "-t", self.image, "service")
        self.compose("up", "--detach", "--wait")

    def traffic(self, *options: str) -> dict[str, int]:
        url = f"http://127.0.0.1:{self.ports['PORT']}"
        traffic = str(STACK / "traffic.py")
        return json.loads(self.run(sys.executable, traffic, "--url", url, *options))

    def ask(self, query: str, time: float | None = None) -> list[dict]:
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/query"
        answer = requests.get(url, {"query": query, "time": time}, timeout=60).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def numbers(self, query: str, time: float | None = None) -> list[float]:
        values = [float(series["value"][1]) for series in self.ask(query, time)]
        return [value for value in values if not np.isnan(value)]

    def told(self) -> list[dict]:
        box = self.compose("ps", "--quiet", "webhook").strip()
        lines = self.run("docker", "logs", box).splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        # On a busy machine answers may be slow indeed.
        return [alert for alert in told if alert["alert"] != "SlowAnswers"]

    def stop(self) -> None:
        self.compose("down", "--volumes", "--timeout", "2")
        subprocess.run(["docker", "rmi", self.image], capture_output=True)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        running.start()
        running.quiet = running.traffic("--requests", "600", "--wrong", "50")
        running.told_while_quiet = running.told()
        running.quiet_end = float(running.ask("time()")[1])
        running.quiet_psi = running.ask("feature:psi:15s", running.quiet_end)
        yield running
    finally:
        running.stop()


@pytest.mark.engine
@pytest.mark.slow
class TestStack:
    """The real service under the real Prometheus; the tests build on each other's traffic."""

    def test_quiet_traffic_raises_no_alert(self, stack):
        assert stack.quiet == {"200": 588, "422": 12}
        assert stack.told_while_quiet == []
        assert sorted(s["metric"]["feature"] for s in stack.quiet_psi) == TRAINED
        assert all(float(s["value"][1]) < 0.1 for s in stack.quiet_psi)

    def test_every_rule_can_be_evaluated(self, stack):
        url = f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}/api/v1/rules"
        groups = requests.get(url, timeout=10).json()["data"]["groups"]
        rules = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        assert len(rules) == 9
        assert set(rules.values()) == {"ok"}

    @pytest.mark.parametrize(("title", "ref", "query"), QUERIES, ids=lambda part: part[:20])
    def test_every_panels_query_returns_data(self, stack, title, ref, query):
        assert stack.numbers(query, stack.quiet_end), f"{title}, query {ref}"

    def test_a_panel_that_asks_for_a_metric_that_is_not_there_would_be_noticed(self, stack):
        assert stack.numbers("rate(http_request_total[15s])") == []

    def test_prometheus_and_the_lesson_compute_the_same_psi(self, stack, drift):
        at = stack.ask("timestamp(feature:psi:15s)", stack.quiet_end)[0]["value"][1]
        for series in stack.ask(f"feature:psi:15s @ {at}"):
            feature = series["metric"]["feature"]
            shares = []
            for name in ("feature_bin:expected", "feature_bin:share:15s"):
                found = stack.ask(f'{name}{{feature="{feature}"}} @ {at}')
                found.sort(key=lambda s: int(s["metric"]["bin"]))
                shares.append([float(s["value"][1]) for s in found])
            assert drift.psi(*shares) == pytest.approx(float(series["value"][1]), rel=1e-6)

    def test_drift_reaches_the_webhook_and_names_the_feature(self, stack):
        stack.traffic("--requests", "600", "--petals", "1.5", "--seed", "1")
        assert eventually(stack.told)
        [alert] = stack.told()
        assert (alert["alert"], alert["feature"], alert["status"]) == (
            "FeatureDrift",
            "petal_length",
            "firing",
        )
        url = f"http://127.0.0.1:{stack.ports['ALERTMANAGER_PORT']}/api/v2/alerts"
        names = {a["labels"]["alertname"] for a in requests.get(url, timeout=10).json()}
        assert names - {"SlowAnswers"} == {"FeatureDrift"}

    def test_with_few_rows_the_alert_stays_silent(self, stack):
        assert eventually(lambda: sum(stack.numbers("feature:rows:15s")) == 0, 40)
        before = len(stack.told())
        stack.traffic("--requests", "60", "--petals", "1.5", "--rate", "20", "--seed", "2")
        assert max(stack.numbers("feature:psi:15s")) > 1
        assert stack.numbers('ALERTS{alertname="FeatureDrift"}') == []
        assert {told["status"] for told in stack.told()[before:]} <= {"resolved"}

    def test_a_service_that_ends_raises_an_alert(self, stack):
        stack.compose("stop", "--timeout", "5", "service")

        def down() -> bool:
            return any(a["alert"] == "ServiceDown" for a in stack.told())

        assert eventually(down)
