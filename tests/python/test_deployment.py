"""docs/deployment.md: the patch for TensorFlow Serving applies; Triton's names are the model's."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

import conv_transpose_nd as ct
from conv_transpose_nd.cli.demo import export, model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
(PATCH,) = re.findall(r"^```diff\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def files(sign: str) -> dict[str, str]:
    """Each file of the patch as its lines have it before ("-") or after ("+")."""
    found = {}
    for name, lines in re.findall(
        r"^\+\+\+ b/(\S+)\n@@.*@@\n((?:[ +-].*\n(?!\+\+\+))+)", PATCH, re.M
    ):
        kept = [x[1:] for x in lines.splitlines() if x[:1] in (" ", sign) and x[:4] != "--- "]
        found[name] = "".join(f"{line}\n" for line in kept)
    return found


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_patch_for_serving_applies(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    before = files("-")
    assert list(before) == ["WORKSPACE", "tensorflow_serving/model_servers/BUILD"]
    # Only the first file is changed at its first line.
    above = dict(zip(before, ("", "# other\n" * 400), strict=True))
    for name, text in before.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(above[name] + text + "# more\n", encoding="utf-8")
    done = subprocess.run(
        ["git", "apply", "-"],
        input=PATCH,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, text in files("+").items():
        assert (tmp_path / name).read_text(encoding="utf-8") == above[name] + text + "# more\n"


def test_what_the_patch_names_is_there_and_always_linked() -> None:
    (repository, target) = re.findall(r'^\+ +"@(\w+)//:(\w+)",$', PATCH, re.MULTILINE)[0]
    assert f'name = "{repository}"' in PATCH
    build = (ROOT / "BUILD").read_text(encoding="utf-8")
    (rule,) = re.findall(rf'^cc_library\(\n    name = "{target}",\n(.*?)^\)', build, re.M | re.S)
    assert "alwayslink = True" in rule


def test_the_configuration_of_triton_fits_the_demo(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```\n(name: .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    folder, _ = export.save(model.Generator(0), tmp_path)
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    (_, inputs), outputs = signature.structured_input_signature, signature.structured_outputs
    for side, specs in (("input", inputs), ("output", outputs)):
        ((name, dims),) = re.findall(rf'^{side} .*name: "(\w+)".*dims: \[ (.*?) \]', text, re.M)
        (spec,) = specs.values()
        assert name in specs
        # Triton adds the batch itself.
        shape = [-1 if length is None else length for length in spec.shape[1:]]
        assert [int(length) for length in dims.split(", ")] == shape
        assert (spec.dtype, spec.shape[0]) == (tf.float32, None)
    assert Path(re.findall(r'op_library_filename: \[ "(.*?)"', text)[0]).name == (
        Path(ct.sysconfig.get_lib()).name
    )
