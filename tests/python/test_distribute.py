"""tf.distribute: two replicas train as one process does with the joint batch."""

import json
import pathlib
import socket
import subprocess
import sys

import distribute_child
import numpy as np
import pytest
from conftest import child_environment

CHILD = pathlib.Path(distribute_child.__file__)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def results(kind, environments, timeout=300):
    """What the children print, all of them started before any is waited for."""
    children = [
        subprocess.Popen(
            [sys.executable, str(CHILD), kind],
            env=child_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    try:
        outputs = [child.communicate(timeout=timeout) for child in children]
    finally:
        for child in children:
            child.kill()
    for child, (_, errors) in zip(children, outputs, strict=True):
        assert child.returncode == 0, errors
    return [json.loads(printed.splitlines()[-1]) for printed, _ in outputs]


@pytest.fixture(scope="module")
def alone():
    losses = distribute_child.train(None)
    assert losses[distribute_child.STEPS - 1] < losses[0]
    return losses


# The replicas' halves are added in another order: a few thousand roundings per step.
ROUNDINGS = distribute_child.STEPS * 4000


def test_two_devices(alone):
    (together,) = results("mirrored", [{}])
    np.testing.assert_allclose(together["train"], alone, rtol=ROUNDINGS * 2.0**-53)
    fitted = distribute_child.fit(None)
    np.testing.assert_allclose(together["fit"], fitted, rtol=ROUNDINGS * 2.0**-24)


def test_two_processes(alone):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    configurations = [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    first, second = results("multi_worker", [{"TF_CONFIG": c} for c in configurations])
    assert first == second
    np.testing.assert_allclose(first["train"], alone, rtol=ROUNDINGS * 2.0**-53)
