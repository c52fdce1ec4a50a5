"""Checkpoints of others: what is read, how little of it, and what is refused in words."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from mutations import mutated_tensors, mutated_zip, outcome
from safetensors.torch import save, save_file
from torch import Tensor, nn

from advcal_edge.encoders.checkpoint import SPANS, digest, load_exactly, read_checkpoint, read_tensors
from advcal_edge.errors import InputError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.steps": torch.tensor(7), "b.weight": torch.ones(4)}


class Intruder:
    """Unpickling it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


def of_a(name: str) -> bool:
    return name.startswith("a.")


def read(path: Path) -> dict[str, Tensor]:
    return read_tensors(path, of_a)


@pytest.mark.parametrize(
    "wrappers", [[], ["state_dict"], ["model"], ["model_state_dict"], ["model", "state_dict"], ["state_dict", "model"]]
)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_only_wanted_tensors_come_out_of_a_torch_file(tmp_path: Path, wrappers: list[str], suffix: str) -> None:
    path = tmp_path / f"all{suffix}"
    content: dict[str, Any] = TENSORS
    for wrapper in wrappers:
        content = {wrapper: content, "epoch": 3}
    torch.save(content, path)
    found = read(path)
    assert found.keys() == {"a.weight", "a.steps"}
    assert all(torch.equal(found[name], TENSORS[name]) for name in found)


def test_safetensors_are_read_alike(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "all.safetensors")
    torch.save(TENSORS, tmp_path / "all.pth")
    found = read(tmp_path / "all.safetensors")
    assert found.keys() == {"a.weight", "a.steps"}
    assert digest(found) == digest(read(tmp_path / "all.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_outlive_their_file_and_more_than_one_span(tmp_path: Path, suffix: str) -> None:
    large = {f"a.{i}": torch.full((2 + i % 3,), float(i)) for i in range(3 * SPANS)} | {"a.view": torch.ones(2, 3)}
    path = tmp_path / f"large{suffix}"
    if suffix == ".pth":
        torch.save(large | {"a.view": torch.ones(3, 2).T}, path)
    else:
        save_file(large, path)
    found = read(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert all(torch.equal(found[name], large[name]) and found[name].is_contiguous() for name in large)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no checkpoint `.*none\.pth`"):
        read(tmp_path / "none.pth")


@pytest.mark.parametrize(("suffix", "complaint"), [(".pth", "ends too early"), (".safetensors", "no whole")])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, complaint: str) -> None:
    path = tmp_path / f"all{suffix}"
    if suffix == ".pth":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=complaint) as caught:
        read(path)
    assert caught.value.hint == "download it again"


def test_an_empty_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match="no checkpoint of torch"):
        read(tmp_path / "empty.pth")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as file:
        file.writestr("photo.txt", "hello")
    with pytest.raises(InputError, match="cannot be read as a checkpoint of torch"):
        read(tmp_path / "photos.pth")


def test_code_in_a_pickle_is_named_and_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({**TENSORS, "extra": Intruder(trace)}, tmp_path / "all.pth")
    with pytest.raises(InputError, match=r"asks for `posix\.mkdir`.*not loaded"):
        read(tmp_path / "all.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Intruder(trace)))
    with pytest.raises(InputError, match="no checkpoint of torch"):
        read(tmp_path / "bare.pth")
    assert not trace.exists()


def run(command: str) -> None:
    """What stands between the backticks of a hint, with this interpreter as `python`."""
    assert command.startswith("`python -c ")
    assert command.endswith("`")
    shell = command.strip("`").replace("python", sys.executable, 1)
    subprocess.run(["sh", "-c", shell], check=True, capture_output=True, text=True)


def test_the_old_format_is_refused_with_a_conversion_that_works(tmp_path: Path) -> None:
    path = tmp_path / "old one.pth"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"before version 1\.6") as caught:
        read(path)
    run(str(caught.value.hint))
    assert digest(read(tmp_path / "old one-zip.pth")) == digest({n: TENSORS[n] for n in TENSORS if of_a(n)})


def test_double_precision_is_refused_with_a_conversion_that_works(tmp_path: Path) -> None:
    path = tmp_path / "double.pth"
    torch.save({name: tensor.double() for name, tensor in TENSORS.items()}, path)
    with pytest.raises(InputError, match="is float64; expected float32") as caught:
        read(path)
    run(str(caught.value.hint))
    assert {tensor.dtype for tensor in read(tmp_path / "double-float32.pth").values()} == {torch.float32}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_and_said(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    rounded = {"a.weight": torch.randn(2, 3).to(dtype), "a.steps": torch.tensor(7), "b.weight": torch.ones(4)}
    half, whole = tmp_path / f"half{suffix}", tmp_path / f"whole{suffix}"
    write: Callable[[dict[str, Tensor], Path], object] = torch.save if suffix == ".pth" else save_file
    write(rounded, half)
    write({name: tensor.float() if name == "a.weight" else tensor for name, tensor in rounded.items()}, whole)
    found = read_checkpoint(half, of_a)
    assert found.notes == (f"`half{suffix}` holds {str(dtype).removeprefix('torch.')}, converted to float32",)
    assert found.tensors["a.weight"].dtype == torch.float32
    assert found.tensors["a.steps"].dtype == torch.int64
    assert digest(found.tensors) == digest(read(whole))
    assert read_checkpoint(whole, of_a).metadata == {}


def test_a_wrapper_of_nothing_and_one_around_itself(tmp_path: Path) -> None:
    around: dict[str, Any] = {"epoch": 1}
    around["model"] = around
    torch.save(around, tmp_path / "circle.pth")
    with pytest.raises(InputError, match="holds no tensors"):
        read(tmp_path / "circle.pth")
    torch.save({"model": {"state_dict": [1, 2]}}, tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no tensors"):
        read(tmp_path / "list.pth")


def test_another_precision_is_no_matter_where_it_is_not_wanted(tmp_path: Path) -> None:
    torch.save({**TENSORS, "b.weight": torch.ones(4).half()}, tmp_path / "all.pth")
    assert "a.weight" in read(tmp_path / "all.pth")


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), {"epoch": 3}, {}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(InputError, match="expected a dictionary of"):
        read(tmp_path / "odd.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_checkpoint_of_another_model_is_recognised(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    other = {f"layer{i}": torch.zeros(1) for i in range(6)}
    if suffix == ".pth":
        torch.save(other, path)
    else:
        save_file(other, path)
    with pytest.raises(InputError, match=r"none of the tensors.*`layer0`, `layer1`, `layer2`, `layer3` and 2 more"):
        read(path)


def test_the_digest_sees_names_shapes_types_and_bytes_but_no_order() -> None:
    one, two = torch.zeros(2, 3), torch.ones(2, dtype=torch.int32)
    first = digest({"one": one, "two": two})
    assert first == digest({"two": two, "one": one})
    others = [
        {"one": one, "zwei": two},
        {"one": one.reshape(3, 2), "two": two},
        {"one": one, "two": two.view(torch.float32)},
        {"one": one, "two": two.flip(0) * 2},
    ]
    assert len({first, *map(digest, others)}) == 5


def test_exact_tensors_become_the_parameters_of_a_module_on_the_meta_device() -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 2)
    weight, bias = torch.rand(2, 3), torch.rand(2)
    load_exactly(module, {"weight": weight, "bias": bias}, "`x.pth`")
    assert torch.equal(module(torch.eye(3)), weight.T + bias)
    assert module.weight.data_ptr() == weight.data_ptr()


def test_everything_that_does_not_fit_stands_in_one_error() -> None:
    surplus = {f"odd{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(InputError) as caught:
        load_exactly(nn.Linear(3, 2), {"weight": torch.zeros(3, 3), **surplus}, "`x.pth`")
    assert caught.value.message == (
        "the tensors of `x.pth` do not fit the 2 expected: 1 missing (`bias`);"
        " 5 left over (`odd0`, `odd1`, `odd2`, `odd3` and 1 more); 1 of another shape (`weight (3, 3) for (2, 3)`)"
    )


def zipped(change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """What `torch.save` writes of the tensors, each entry of the zip changed."""
    whole, out = io.BytesIO(), io.BytesIO()
    torch.save(TENSORS, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


def test_a_zip_that_unpacks_to_more_than_it_is_stays_packed(tmp_path: Path) -> None:
    def swollen(name: str, content: bytes) -> bytes:
        return content + bytes(2**24) if name.endswith("data.pkl") else content

    (tmp_path / "packed.pth").write_bytes(zipped(swollen, zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match="is compressed; expected it stored"):
        read(tmp_path / "packed.pth")
    (tmp_path / "long.pth").write_bytes(zipped(swollen))
    with pytest.raises(InputError, match=r"the pickle in .* expected at most 16,777,216"):
        read(tmp_path / "long.pth")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(1).expand(2**20, 2**20), "no plain tensor"),
        (torch.zeros(2, 2).to_sparse(), "no plain tensor"),
        (torch.zeros(2, device="meta"), "no plain tensor"),
    ],
    ids=["repeated", "sparse", "without numbers"],
)
def test_a_tensor_that_is_not_stored_number_by_number(tensor: Tensor, words: str, tmp_path: Path) -> None:
    torch.save({"a.weight": tensor}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match=words):
        read(tmp_path / "odd.pth")


def test_names_that_share_their_numbers_a_thousand_times(tmp_path: Path) -> None:
    one = torch.zeros(4096)
    torch.save({f"a.{i}": one for i in range(1000)}, tmp_path / "many.pth")
    with pytest.raises(InputError, match="at most twice its size"):
        read(tmp_path / "many.pth")
    torch.save({"a.in": one, "a.out": one}, tmp_path / "tied.pth")
    assert torch.equal(read(tmp_path / "tied.pth")["a.out"], one)


def test_other_types_do_not_fit_a_module() -> None:
    state = {"weight": torch.zeros(2, 3, dtype=torch.int64), "bias": torch.zeros(2)}
    with pytest.raises(InputError, match=r"1 of another type \(`weight torch.int64 for torch.float32`\)"):
        load_exactly(nn.Linear(3, 2), state, "`x.pth`")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_damage_is_said_in_words(
    data: st.DataObject, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    if suffix == ".pth":
        path.write_bytes(data.draw(mutated_zip(zipped(lambda _, content: content))))
    else:
        path.write_bytes(data.draw(mutated_tensors(save(TENSORS, {"format": "pt"}))))
    outcome(lambda found: read_tensors(found, lambda _: True), path, InputError)
