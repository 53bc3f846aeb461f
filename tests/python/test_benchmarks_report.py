"""The benchmark's summary, table and pictures say what the figures are."""

from __future__ import annotations

import xml.etree.ElementTree

import pytest
from benchmarks import pictures, process, report, results, summary

WIDE, OTHER = "dcgan64_l3", "fsrcnn"


def row(milliseconds, equal=True):
    return {
        "median_ms": milliseconds,
        "min_ms": milliseconds / 2,
        "calls": 9,
        "max_difference": 0.0 if equal else 1.0,
        "equal": equal,
        "peak_bytes": 1 << 20,
    }


def case(workload=OTHER, operation="forward", dtype="float32", threads=1, bound=0.5, **peers):
    return {
        "workload": workload,
        "operation": operation,
        "dtype": dtype,
        "threads": threads,
        "flops": 10**9,
        "bytes": 10**7,
        "tolerance": 1e-3,
        "bound_ms": bound,
        "bound_by": "multiply-adds",
        "plan": {"family": "channel_lanes", "workspace_bytes": 9 << 20, "packed_bytes": 4 << 20},
        "peers": peers,
    }


def typical(**changes):
    peers = {
        "op": row(2.0),
        "op_constant": row(1.0),
        "core": row(1.5),
        "tensorflow": row(3.0),
        "tensorflow_xla": row(2.5),
        "onednn": row(1.2),
        "pytorch": row(0.1, equal=False),
        "jax": {"absent": "No module named 'jax'"},
        "litert": {"unsupported": "no groups"},
        "openvino": {"too_slow": "no answer within 9 s"},
    }
    return case(**{**peers, **changes})


def figures(*cases):
    limits = {"gflops": {"float32": 100.0}, "copy": [[1024, 90.0], [4096, 10.0]]}
    limits["isa"] = {"float32": "avx2", "bfloat16": "avx2"}
    return results.Results(
        machine={"cpu": "test"},
        versions={"op": "1", "onednn": "3"},
        limits={"1": limits, "2": limits},
        cases=list(cases),
    )


def test_ratios_compare_like_with_like_and_leave_out_wrong_results():
    found = typical()
    assert summary.against_tensorflow(found) == pytest.approx(2.5 / 2.0)
    assert summary.against_all(found) == pytest.approx(1.2 / 1.0)
    assert summary.against_all(found, "min_ms") == pytest.approx(1.2 / 1.0)
    assert summary.share_of_machine(found) == pytest.approx(0.5)
    assert summary.best(found) == ("onednn", 1.2)


def test_a_tiny_call_is_compared_as_numpy_arrays():
    tiny = typical(core_constant=row(0.8)) | {"dispatch_ms": 0.6}
    assert summary.is_tiny(tiny)
    assert summary.against_all(tiny) == pytest.approx(1.2 / 0.8)
    gradient = typical(operation="filter_grad") | {"dispatch_ms": 0.6}
    assert summary.against_all(gradient) == pytest.approx(1.2 / 1.5)
    assert not summary.is_tiny(typical() | {"dispatch_ms": 0.4})


def test_without_peers_there_is_no_ratio():
    assert summary.against_all(case(op=row(1.0))) is None
    assert summary.against_tensorflow(case(tensorflow=row(1.0))) is None
    assert summary.share_of_machine(case(tensorflow=row(1.0))) is None


def test_lines_name_what_is_below_the_goal_worst_first():
    cases = [
        typical(),
        typical(workload="a", tensorflow_xla=row(0.5)),
        typical(workload="b", tensorflow_xla=row(1.0)),
    ]
    line = summary.lines(cases)[0]
    assert line.title == "best of TensorFlow / op, forward, filter as argument, 1 thread"
    assert line.below() == [("a", 0.25), ("b", 0.5)]
    assert line.geometric_mean == pytest.approx((1.25 * 0.25 * 0.5) ** (1 / 3))


def test_the_mean_at_the_bound_counts_no_call_that_takes_less():
    # Bound by 0.5 ms; with an empty call of 0.3 ms, 0.8 of the op's 2 ms.
    slow = typical() | {"dispatch_ms": 0.3}
    fast = typical(workload="a", op=row(0.4)) | {"dispatch_ms": 0.05}
    found = summary.against_tensorflow(slow, at_bound=True)
    assert found == pytest.approx(2.5 / 0.8)
    assert summary.against_tensorflow(fast, at_bound=True) == pytest.approx(2.5 / 0.4)
    line = summary.lines([slow, fast])[0]
    assert line.at_bound == pytest.approx((2.5 / 0.8 * 2.5 / 0.4) ** 0.5)
    shares = [line for line in summary.lines([slow, fast]) if "bound of" in line.title]
    assert shares[0].at_bound is None


def test_a_result_of_another_shape_is_a_failure():
    odd = typical()
    odd["peers"]["pytorch"] = row(1.0) | {"equal": False, "max_difference": None}
    assert any("another shape" in text for text in summary.failures([odd]))


def test_dtypes_and_threads_are_compared_with_our_own_times():
    cases = [
        case(WIDE, op=row(4.0)),
        case(WIDE, dtype="bfloat16", op=row(2.0)),
        case(WIDE, threads=2, op=row(2.5)),
        case(OTHER, dtype="bfloat16", op=row(2.0)),
        case(OTHER, op=row(4.0)),
    ]
    found = {line.title: line.ratios for line in summary.lines(cases)}
    assert found["own float32 / bfloat16, wide channels, 1 thread"] == {WIDE: 2.0}
    assert found["1 thread / 2 threads, forward, over 1 ms"] == {WIDE: 1.6}


def test_the_report_shows_wrong_absent_and_slow_results():
    text = report.markdown(figures(typical()))
    assert "0.100 (wrong)" in text
    assert "pytorch differs by 1 (at most 0.001)" in text
    assert "| absent |" in text
    assert "| too slow |" in text
    assert "- jax, absent: No module named 'jax'" in text
    # 9 MB are 1 MB more than the packed filter and 4 MB for one thread.
    assert "1.0 MB more" in text
    assert report.failures(figures(typical()))


def test_our_own_row_without_a_result_is_a_failure():
    failing = typical(op={"unsupported": "InternalError: boom"})
    assert any("boom" in text for text in report.failures(figures(failing)))
    gradient = case(operation="filter_grad", op=row(1.0), op_constant={"unsupported": "none"})
    assert not report.failures(figures(gradient))


def test_a_peer_that_died_in_every_case_is_a_failure():
    dead = typical(pytorch={"unsupported": process.DIED})
    assert report.failures(figures(dead, dead)) == ["pytorch: the process died in every case"]
    assert not report.failures(figures(dead, typical(pytorch=row(2.0))))


def test_pictures_are_drawings_that_repeat_bit_by_bit():
    several = figures(typical(), typical(workload="a<b", onednn=row(0.5)))
    drawn = pictures.draw(several)
    assert set(drawn) == {"ratio_forward_float32_1", "roofline_forward_float32_1"}
    assert drawn == pictures.draw(several)
    for text in drawn.values():
        root = xml.etree.ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        assert "a<b" in " ".join(root.itertext())
    bars = drawn["ratio_forward_float32_1"]
    assert bars.count(pictures._GOOD) == 1
    assert bars.count(pictures._BAD) == 1


def test_figures_survive_the_file(tmp_path):
    path = tmp_path / "folder" / "figures.json"
    before = figures(typical())
    before.write(path)
    assert results.read(path) == before
    assert before.has((OTHER, "forward", "float32", 1), ["op", "jax"])
    assert not before.has((OTHER, "forward", "float32", 1), ["op", "another"])
    assert not before.has((OTHER, "forward", "float64", 1), ["op"])
    before.add(typical(op=row(9.0)))
    assert [c["peers"]["op"]["median_ms"] for c in before.cases] == [9.0]


def test_a_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "old.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="must hold results of format 1"):
        results.read(path)
