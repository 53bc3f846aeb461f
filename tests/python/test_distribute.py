"""tf.distribute: two replicas train as one process does with the joint batch."""

import json
import pathlib
import socket
import subprocess
import sys
import time

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


def results(kind, environments, folder, timeout=300):
    """What the children print, all of them started before any is waited for."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{index}.txt" for index in range(len(environments))]
    children = []
    for file, environment in zip(files, environments, strict=True):
        with file.open("w") as output:
            child = subprocess.Popen(
                [sys.executable, str(CHILD), kind],
                env=child_environment(**environment),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        children.append(child)
    deadline = time.monotonic() + timeout
    try:
        # One that fails leaves the others waiting for it.
        while None in (codes := [child.poll() for child in children]):
            if any(codes) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
    finally:
        for child in children:
            child.kill()
    printed = [file.read_text() for file in files]
    assert codes == [0] * len(children), "\n".join(printed)
    # TensorFlow's own lines may stand around the one that counts.
    lines = [
        [line for line in text.splitlines() if line.startswith('{"train"')] for text in printed
    ]
    return [json.loads(line) for (line,) in lines]


@pytest.fixture(scope="module")
def alone():
    losses = distribute_child.train(None)
    assert losses[distribute_child.STEPS - 1] < losses[0]
    return losses


# The replicas' halves are added in another order: a few thousand roundings per step.
ROUNDINGS = distribute_child.STEPS * 4000


def test_two_devices(alone, tmp_path):
    (together,) = results("mirrored", [{}], tmp_path)
    np.testing.assert_allclose(together["train"], alone, rtol=ROUNDINGS * 2.0**-53)
    fitted = distribute_child.fit(None)
    np.testing.assert_allclose(together["fit"], fitted, rtol=ROUNDINGS * 2.0**-24)


def test_two_processes(alone, tmp_path):
    for attempt in range(3):
        workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
        tasks = [{"type": "worker", "index": index} for index in range(2)]
        configurations = [{"cluster": {"worker": workers}, "task": task} for task in tasks]
        environments = [{"TF_CONFIG": json.dumps(c)} for c in configurations]
        try:
            first, second = results("multi_worker", environments, tmp_path / str(attempt))
            break
        except AssertionError as error:
            # Another program may have taken a port between our look at it and its use.
            if attempt == 2 or "Could not start gRPC server" not in str(error):
                raise
    assert first == second
    np.testing.assert_allclose(first["train"], alone, rtol=ROUNDINGS * 2.0**-53)
