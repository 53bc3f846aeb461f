"""`ct.saved_model` on damaged models, in places it cannot write, and interrupted: nothing stays."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from accelerate_cases import INPUTS, QUICK, digest
from conftest import child_environment

import conv_transpose_nd as ct
from conv_transpose_nd.saved_model import _accelerate

DAMAGES = {
    "missing": (lambda f: (f / "saved_model.pb").unlink(), FileNotFoundError, "must hold"),
    "truncated": (
        lambda f: (f / "saved_model.pb").write_bytes((f / "saved_model.pb").read_bytes()[:3000]),
        ValueError,
        "saved_model.pb is damaged, or no SavedModel",
    ),
    "empty": (lambda f: (f / "saved_model.pb").write_bytes(b""), ValueError, "holds no graph"),
    "noise": (
        lambda f: (f / "saved_model.pb").write_bytes(np.random.default_rng(1).bytes(5000)),
        ValueError,
        "is damaged",
    ),
    "no variables": (
        lambda f: (f / "variables/variables.index").unlink(),
        FileNotFoundError,
        "has variables, but no variables/variables.index",
    ),
    "no data": (
        lambda f: (f / "variables/variables.data-00000-of-00001").unlink(),
        ValueError,
        "cannot be loaded: .*variables",
    ),
    "truncated data": (
        lambda f: (f / "variables/variables.data-00000-of-00001").write_bytes(b"1234"),
        ValueError,
        "cannot be loaded: ",
    ),
    "unknown ops": (
        lambda f: (f / "saved_model.pb").write_bytes(
            (f / "saved_model.pb")
            .read_bytes()
            .replace(b"Conv2DBackpropInput", b"Conv2DBackpropOther")
        ),
        ValueError,
        "ops that this TensorFlow does not know: Conv2DBackpropOther.*load_op_library",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("rewrite", ["accelerate", "to_stock"])
def test_damaged_models_are_named_and_leave_nothing(forms, tmp_path, name, rewrite):
    damage, error, words = DAMAGES[name]
    (tmp_path / "stock").mkdir()
    for path, _ in digest(forms[0] / "stock"):
        (tmp_path / "stock" / path).parent.mkdir(exist_ok=True)
        (tmp_path / "stock" / path).write_bytes((forms[0] / "stock" / path).read_bytes())
    damage(tmp_path / "stock")
    with pytest.raises(error, match=f"(?s){words}"):
        getattr(ct.saved_model, rewrite)(tmp_path / "stock", tmp_path / "ours", **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_places_that_cannot_be_written(forms, tmp_path):
    stock = forms[0] / "stock"
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match=r"dst must not exist, got .*there"):
        ct.saved_model.accelerate(stock, tmp_path / "there", **QUICK)
    with pytest.raises(FileNotFoundError, match="dst must lie in a folder that exists"):
        ct.saved_model.accelerate(stock, tmp_path / "no/where", **QUICK)
    with pytest.raises(ValueError, match="dst must not lie in src"):
        ct.saved_model.accelerate(stock, stock / "variables" / "ours", **QUICK)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_a_wrong_rewrite_is_not_written(forms, tmp_path, monkeypatch):
    """The comparison can fail: an op with another activation is found out."""
    right = _accelerate._op

    def wrong(graph, found):
        op = right(graph, found)
        if found.activation == "elu":
            op.attr["activation"].s = b"relu"
        return op

    monkeypatch.setattr(_accelerate, "_op", wrong)
    with pytest.raises(ValueError, match=r"three_axes gives other outputs .*Nothing was written"):
        ct.saved_model.accelerate(forms[0] / "stock", tmp_path / "ours", inputs=INPUTS, **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_while_it_runs(forms, tmp_path):
    def interrupt(line):
        if "times as fast" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ct.saved_model.accelerate(
            forms[0] / "stock", tmp_path / "ours", seconds=0.0, report=interrupt
        )
    assert list(tmp_path.iterdir()) == []


def test_terminated_while_it_runs(stock_models, tmp_path):
    """SIGTERM in the middle of the timing: no dst, and no copy either."""
    command = [sys.executable, "-m", "conv_transpose_nd", "accelerate", "--seconds", "600"]
    process = subprocess.Popen(
        [*command, str(stock_models / "unet"), str(tmp_path / "ours")],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert "ConvTransposeND" in process.stdout.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []
