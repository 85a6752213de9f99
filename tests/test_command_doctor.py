"""`mamlkit doctor`: each check can fail, says what to do, and the exit code follows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from click.testing import CliRunner

from mamlkit.commands import doctor
from mamlkit.commands.doctor import Check
from mamlkit.core.errors import InputError
from mamlkit.datasets.omniglot import ARCHIVES

OK, WARN, FAIL = Check("a", "ok", "x"), Check("b", "warn", "y", "Do this."), Check("c", "fail", "z", "Do that [now].")


def raises(error: Exception) -> Callable[..., Any]:
    def function(*args: object, **kwargs: object) -> None:
        raise error

    return function


def run(monkeypatch: pytest.MonkeyPatch, *checks: Check, options: tuple[str, ...] = ()) -> tuple[int, str]:
    monkeypatch.setattr(doctor, "CHECKS", tuple((lambda check=check: check) for check in checks))
    result = CliRunner().invoke(doctor.command, options)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_warnings_exit_with_0_and_a_failure_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, OK, WARN)[0] == 0
    code, output = run(monkeypatch, OK, WARN, FAIL)
    assert code == 1
    assert all(text in output for text in ("ok", "warn", "fail", "-> Do this.", "-> Do that [now]."))


def test_json_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, OK, FAIL, options=("--json",))
    assert (code, json.loads(output)) == (1, {"ok": False, "checks": [OK._asdict(), FAIL._asdict()]})
    code, output = run(monkeypatch, WARN, options=("--json",))
    assert (code, json.loads(output)["ok"]) == (0, True)


def test_on_this_computer_every_check_answers_and_nothing_fails() -> None:
    pytest.importorskip("jupyterlab", reason="the lab extra is not installed")
    result = CliRunner().invoke(doctor.command, ["--json"])
    checks = {check["name"]: check for check in json.loads(result.output)["checks"]}
    assert [check for check in checks.values() if check["status"] == "fail"] == []
    assert result.exit_code == 0
    assert len(checks) == len(doctor.CHECKS)
    assert all(bool(check["advice"]) == (check["status"] != "ok") for check in checks.values())
    assert "python3 runs this Python" in checks["Jupyter kernel"]["found"]


def test_an_old_torch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    assert doctor.check_torch().status == "fail"


def test_a_wrong_second_derivative_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_torch().status == "ok"
    convolve = torch.nn.functional.conv2d

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x, w)
            return convolve(x, w)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            x, w = (tensor.detach() for tensor in ctx.saved_tensors)
            return torch.nn.grad.conv2d_input(x.shape, w, gradient), torch.nn.grad.conv2d_weight(x, w.shape, gradient)

    monkeypatch.setattr(doctor.F, "conv2d", Broken.apply)
    assert doctor.check_torch().status == "fail"


def test_more_threads_than_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert doctor.check_threads().status == "warn"


@pytest.mark.parametrize(("percent", "status"), [(5.0, "ok"), (90.0, "warn")])
def test_other_programs_that_take_the_cores_are_a_warning(
    percent: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda seconds: percent)
    check = doctor.check_load()
    assert (check.status, check.found) == (status, f"other programs use {percent:.0f}% of all cores")
    assert ("Close some of them" in check.advice) == (status == "warn")


def test_a_missing_compiler_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    assert doctor.check_compiler() == doctor.Check("C++ compiler", "ok", sys.executable)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert doctor.check_compiler().status == "warn"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (subprocess.CompletedProcess("", 0, f"{sys.prefix}\n", ""), "ok"),
        (subprocess.CompletedProcess("", 0, "/another/python\n", ""), "fail"),
        (subprocess.CompletedProcess("", 1, "", "Traceback\nNoSuchKernel: python3\n"), "fail"),
        (subprocess.TimeoutExpired("", 120), "fail"),
    ],
)
def test_a_kernel_of_another_python_or_none_fails(monkeypatch: pytest.MonkeyPatch, answer: Any, status: str) -> None:
    monkeypatch.setattr(doctor, "version", lambda package: "7.0")
    reply = raises(answer) if isinstance(answer, Exception) else lambda *args, **kwargs: answer
    monkeypatch.setattr(subprocess, "run", reply)
    check = doctor.check_kernel()
    assert check.status == status
    assert bool(check.advice) == (status == "fail")


def test_missing_lab_packages_are_a_warning_and_old_widgets_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda package: "")
    assert [doctor.check_kernel()[1::2], doctor.check_figures()[1::2]] == [("warn", doctor.INSTALL_LAB)] * 2
    monkeypatch.setattr(doctor, "version", lambda package: "7.9")
    assert doctor.check_figures().status == "fail"
    assert doctor.version("mamlkit-no-such-package") == "7.9"
    monkeypatch.undo()
    assert doctor.version("mamlkit-no-such-package") == ""


def test_an_apple_gpu_is_named_with_how_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.torch.cuda, "device_count", lambda: 0)
    for there, found in ((False, "none"), (True, "Apple GPU, untested and used with device = 'mps' alone")):
        monkeypatch.setattr(doctor.torch.backends.mps, "is_available", lambda there=there: there)
        assert doctor.check_accelerators().found.startswith(found)


def test_missing_notebooks_and_glyphs_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "notebooks_folder", raises(InputError("no notebooks")))
    monkeypatch.setattr(doctor.datasets, "load", raises(InputError("no glyphs")))
    assert [doctor.check_notebooks().status, doctor.check_glyphs().status] == ["fail", "fail"]


def test_omniglot_is_found_in_the_data_folder_or_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAMLKIT_DATA", str(tmp_path))
    monkeypatch.setenv("MAMLKIT_CACHE", str(tmp_path / "cache"))
    check = doctor.check_download("omniglot")
    assert (check.name, check.status) == ("Data: omniglot", "warn")
    (tmp_path / "omniglot").mkdir()
    for name in ARCHIVES:
        assert name in check.advice
        assert doctor.check_download("omniglot").status == "warn"
        (tmp_path / "omniglot" / name).touch()
    found = doctor.check_download("omniglot")
    assert (found.status, found.found.count(str(tmp_path))) == ("ok", 2)


def test_a_full_disk_and_a_read_only_folder_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "not" / "made"
    for free, status in ((2e9, "ok"), (9e8, "warn"), (1e6, "fail")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: types.SimpleNamespace(free=free))
        assert doctor.check_folder("Cache", missing, "move it").status == status
    monkeypatch.setattr(tempfile, "TemporaryFile", raises(PermissionError(13, "Permission denied")))
    check = doctor.check_folder("Cache", missing, "move it")
    assert (check.status, check.advice) == ("fail", "move it.")
    assert "Permission denied" in check.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "below"])
def test_a_folder_that_is_a_file_fails(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = doctor.check_folder("Cache", tmp_path / "file" / below, "move it")
    assert (check.status, check.advice) == ("fail", "move it.")
    assert "Not a directory" in check.found


def test_versions_are_read_up_to_the_minor_number() -> None:
    versions = {"2.13.0+cpu": (2, 13), "8.1": (8, 1), "9.0rc1": (9, 0), "7": (7,)}
    assert {version: doctor._release(version) for version in versions} == versions
