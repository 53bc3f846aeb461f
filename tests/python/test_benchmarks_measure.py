"""The benchmark measures peers in turns, in processes, and finds a result that is wrong."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import types

import numpy as np
import pytest
from benchmarks import measure, peers, run, scaling
from benchmarks.peers import core as core_peer
from benchmarks.process import Peer
from benchmarks.worker import Worker
from benchmarks.workload import Case, load_suite

from conv_transpose_nd._machine import Machine, measure_machine

QUICK = measure.Settings(seconds=0.01, turns=3, most=3)
MACHINE = Machine(
    gflops={"float32": 100.0},
    copy=[[1024, 50.0], [1 << 20, 50.0]],
    isa={"float32": "-", "bfloat16": "-"},
)


class PeerInThisProcess(Peer):
    """A peer whose worker is an object."""

    def __init__(self, name, module, monkeypatch):
        super().__init__(name, threads=1)
        monkeypatch.setitem(__import__("sys").modules, f"benchmarks.peers.{name}", module)
        self.worker = Worker(peers.PeerInfo(name, name, ""))

    def send(self, **command):
        self.answer = self.worker.answer(json.loads(json.dumps(command)))

    def receive(self, seconds):
        return self.answer


def peer_of(name, monkeypatch, make):
    return PeerInThisProcess(name, types.SimpleNamespace(make=make), monkeypatch)


def changed(change):
    """A peer that computes, and then does something to the result."""

    def make(case, constant):
        call = core_peer.make(case, constant)
        return lambda: change(call())

    return make


@pytest.fixture
def case(tmp_path):
    return Case(load_suite("dcgan_tf_l3")[0], "forward", "float32", 1, tmp_path)


def add_to_one_element(array, value):
    array[0, 3, 5, 0] += value
    return array


def test_only_equal_results_count(case, monkeypatch):
    slight = case.workload.tolerance("forward") / 2
    several = {
        "core": peer_of("core", monkeypatch, core_peer.make),
        "right": peer_of("right", monkeypatch, changed(lambda y: y)),
        "rounded": peer_of(
            "rounded", monkeypatch, changed(lambda y: add_to_one_element(y, slight))
        ),
        "wrong": peer_of("wrong", monkeypatch, changed(lambda y: add_to_one_element(y, 0.01))),
        "nan": peer_of("nan", monkeypatch, changed(lambda y: add_to_one_element(y, np.nan))),
        "cropped": peer_of("cropped", monkeypatch, changed(lambda y: y[:, 1:])),
    }
    rows = measure.measure(case, several, QUICK, MACHINE)["peers"]
    assert {name for name, row in rows.items() if row["equal"]} == {"core", "right", "rounded"}
    assert all(0 < row["min_ms"] <= row["median_ms"] and row["calls"] for row in rows.values())


def test_a_peer_without_the_case_or_the_library_says_so(case, monkeypatch):
    def missing(case, constant):
        raise ModuleNotFoundError("No module named 'absent_library'")

    def unsupported(case, constant):
        raise peers.UnsupportedError("has no such case")

    several = {
        "core": peer_of("core", monkeypatch, core_peer.make),
        "missing": peer_of("missing", monkeypatch, missing),
        "unsupported": peer_of("unsupported", monkeypatch, unsupported),
    }
    found = measure.measure(case, several, QUICK, MACHINE)
    assert "absent_library" in found["peers"]["missing"]["absent"]
    assert "has no such case" in found["peers"]["unsupported"]["unsupported"]
    assert found["peers"]["core"]["equal"]
    assert found["bound_ms"] == pytest.approx(case.workload.flops / 100.0 * 1e-6)


def test_a_peer_far_behind_gets_fewer_turns():
    class Timed:
        """A peer whose calls take a given time."""

        def __init__(self, seconds):
            self.seconds, self.turns = seconds, 0

        def turn(self):
            return contextlib.nullcontext()

        def ask(self, limit, **command):
            self.turns += 1
            return {"seconds": [self.seconds]}

    several = {name: Timed(s) for name, s in (("fast", 1), ("slow", 4), ("slower", 11), ("op", 99))}
    times, failed = measure.take_turns(several, measure.Settings(turns=5))
    assert {name: peer.turns for name, peer in several.items()} == {
        "fast": 5,
        "slow": 2,
        "slower": 1,
        "op": 5,
    }
    assert [len(values) for values in times.values()] == [5, 2, 1, 5]
    assert not failed


def test_a_process_without_its_library_reports_that_it_is_absent(case, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "FOLDER", tmp_path / "no environments")
    case.write_operands()
    peer = Peer("openvino", threads=1)
    try:
        for _ in range(2):  # the second command meets a process that stands still
            answer = peer.ask(60.0, prepare=case.to_json())
            peer.stop()
        assert ("absent" in answer) == (importlib.util.find_spec("openvino") is None)
        # It was asked nothing, so that it cannot answer in time.
        assert "no answer" in peer.receive(0.0)["too_slow"]
        assert peer.process is None
        peer.send(nonsense=True)
        assert peer.receive(60.0) == {"unsupported": "the process died"}
    finally:
        peer.close()


def test_a_run_writes_its_figures_and_goes_on_where_it_ended(
    tmp_path, monkeypatch, capsys, shown_progress
):
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "measure_machine", lambda threads: MACHINE)
    path = tmp_path / "figures.json"
    arguments = ["--only", "dcgan_tf_l3", "--peers", "core", "--seconds", "0.01"]
    arguments += ["--json", str(path)]
    assert run.main(arguments) == 0
    first = path.read_text(encoding="utf-8")
    assert [c["workload"] for c in json.loads(first)["cases"]] == ["dcgan_tf_l3", "dcgan_tf_l3@b32"]
    assert "dcgan_tf_l3@b32" in path.with_suffix(".md").read_text(encoding="utf-8")
    assert path.with_name("figures_roofline_forward_float32_1.svg").exists()
    assert [(done, total) for done, total, _ in shown_progress] == [(0, 2), (1, 2)]
    assert "dcgan_tf_l3@b32" in shown_progress[1][2]
    assert capsys.readouterr().err == ""
    # Nothing is left to do, so nothing starts.
    monkeypatch.setattr(run, "Peer", None)
    assert run.main(arguments) == 0
    assert path.read_text(encoding="utf-8") == first
    assert "dcgan_tf_l3@b32" in capsys.readouterr().out


def test_figures_are_printed_as_json(monkeypatch, capsys):
    monkeypatch.setattr(run, "measure_machine", lambda threads: MACHINE)
    arguments = ["--only", "dcgan_tf_l3@b32", "--peers", "core", "--seconds", "0.01"]
    assert run.main([*arguments, "--verbose", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [c["workload"] for c in found["cases"]] == ["dcgan_tf_l3@b32"]
    assert "[1/1] " in printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--peers", "nobody"],
        ["--threads", "0"],
        ["--seconds", "nan"],
        ["--only", "no_such_workload"],
        ["--dtypes", "int8"],
        ["--operations", "backward"],
    ],
)
def test_a_wrong_option_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert arguments[0] in error.splitlines()[-1]
    assert arguments[1] in error.splitlines()[-1]


def test_the_machines_limits_are_measured():
    found = measure_machine(1)
    # Any processor of the last twenty years multiplies and copies within these.
    assert 1 < found.gflops["float64"] <= found.gflops["float32"] * 1.5 < 1e4
    assert all(0.1 < rate < 1e4 for _, rate in found.copy)


def test_bandwidth_between_two_measured_sizes_lies_between_them():
    machine = Machine(copy=[[1024, 80.0], [4096, 20.0]])
    assert machine.gbytes(10) == 80.0
    assert machine.gbytes(1 << 30) == 20.0
    assert machine.gbytes(2048) == pytest.approx(50.0)


def test_scaling_grows_one_size_a_thousandfold(monkeypatch):
    chosen = [row for row in scaling.workloads() if row[1] <= 10]
    monkeypatch.setattr(scaling, "workloads", lambda: chosen)
    peer = peer_of("core", monkeypatch, core_peer.make)
    peer.worker.module = core_peer
    monkeypatch.setitem(__import__("sys").modules, "benchmarks.peers.core", core_peer)
    rows = scaling.measure(peer, 1, QUICK, MACHINE)
    assert {(row["grows"], row["factor"]) for row in rows} == {row[:2] for row in chosen}
    text = "\n".join(scaling.markdown(rows))
    assert "| batch | 10 | 1 |" in text


@pytest.mark.parametrize("row", scaling.workloads(), ids=lambda row: f"{row[0]}x{row[1]}")
def test_scaled_workloads_count_their_flops(row):
    from conv_transpose_nd import core

    _, _, workload = row
    plan = core.plan(
        workload.input_shape,
        workload.filter_shape,
        output_shape=workload.output_shape,
        strides=workload.strides,
        padding=workload.padding,
    )
    assert 2 * plan["multiply_adds"] == workload.flops
    assert workload.end_pads() == [1, 1]


def test_a_peer_that_fails_in_its_turn_gets_no_other(case, monkeypatch):
    failing = peer_of("failing", monkeypatch, core_peer.make)
    monkeypatch.setattr(failing.worker, "time", lambda seconds, most: {}["died"])
    send = failing.send

    def send_or_die(**command):
        try:
            send(**command)
        except KeyError:
            failing.answer = {"unsupported": "the process died"}

    monkeypatch.setattr(failing, "send", send_or_die)
    several = {"core": peer_of("core", monkeypatch, core_peer.make), "failing": failing}
    rows = measure.measure(case, several, QUICK, MACHINE)["peers"]
    assert rows["failing"] == {"unsupported": "the process died"}
    assert rows["core"]["equal"]


def test_without_the_oracle_nothing_counts(case, monkeypatch):
    def broken(case, constant):
        raise RuntimeError("broken")

    several = {
        "core": peer_of("core", monkeypatch, broken),
        "right": peer_of("right", monkeypatch, core_peer.make),
    }
    rows = measure.measure(case, several, QUICK, MACHINE)["peers"]
    assert "core has no result" in rows["right"]["unsupported"]
