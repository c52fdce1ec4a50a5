"""What `require_verified="signed"` accepts, and everything that it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from forgery import attestations_of, resign, sign_again, statement_in, statements_in
from host_trt import host_gpu
from key_files import MakeKey
from rebuilt import build

from advcal_edge.attestation import PrivateKey
from advcal_edge.attestation.attestations import TEST_RESULT, sign_statements
from advcal_edge.attestation.signature import root_digest
from advcal_edge.attestation.statement import Statement
from advcal_edge.bundle import Bundle
from advcal_edge.errors import BundleError, ConfigError, SignatureError
from advcal_edge.runtime import Embedder

WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("model_signing", "sigstore", "securesystemslib", "in_toto_attestation", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from advcal_edge.runtime import Embedder
assert "cryptography" not in sys.modules, "only signatures need it"
assert Embedder.load(sys.argv[1], "fp16", "signed", public_key=sys.argv[2]).verified
assert "cryptography" in sys.modules
"""


def load(bundle: Path, public_key: Path, engine: str = "fp16") -> Embedder:
    return Embedder.load(bundle, engine, "signed", public_key=public_key)


def test_a_signed_engine_runs_where_nothing_but_cryptography_is_installed(signed: Path, public_key: Path) -> None:
    assert load(signed, public_key).verified
    done = subprocess.run([sys.executable, "-c", WITHOUT, signed, public_key], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_inconclusive_engine_is_attested_as_failed_and_refused(signed: Path, public_key: Path) -> None:
    with pytest.raises(SignatureError, match="says FAILED about engine"):
        load(signed, public_key, "fp32")


def test_one_changed_byte_in_any_file_is_refused_with_its_name(signed: Path, public_key: Path) -> None:
    names = [path.relative_to(signed).as_posix() for path in sorted(signed.rglob("*")) if path.is_file()]
    assert len(names) == 15
    for name in names:
        path = signed / name
        good = path.read_bytes()
        at = good.index(b'"payload": "') + 100 if name == "model.sig" else len(good) // 2
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(BundleError) as caught:
            load(signed, public_key)
        assert f"{path}`" in caught.value.message
        path.write_bytes(good)
    load(signed, public_key)


def test_a_plan_that_can_be_retested_is_refused(
    verified: Path, key: Path, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from advcal_edge.verify.attest import attest

    with host_gpu(monkeypatch):
        name = build(Bundle.open(verified))
        attest(Bundle.open(verified), PrivateKey.read(key))
        embedder = Embedder.load(verified, name, "retested", selftest=True)
        assert embedder.selftest is not None
        assert embedder.selftest.status == "retested"
        with pytest.raises(SignatureError, match="no attestation"):
            Embedder.load(verified, name, "signed", public_key=public_key, selftest=True)


def test_another_key_is_refused(signed: Path, make_key: MakeKey) -> None:
    with pytest.raises(SignatureError, match="was not signed with the key"):
        load(signed, make_key("thief").with_suffix(".pub.pem"))


def test_an_unsigned_bundle_is_refused(verified: Path, public_key: Path) -> None:
    with pytest.raises(SignatureError, match="is not signed"):
        load(verified, public_key)


def test_a_report_changed_along_with_its_manifest_is_refused(signed: Path, public_key: Path) -> None:
    """Everything but the signature fits: the hash in the manifest, and the conclusions of the report."""
    bundle = Bundle.open(signed)
    name = next(name for name in bundle.manifest["files"] if name.endswith("report.json"))
    document = json.loads((signed / name).read_text())
    document["measured"]["seconds"] += 1
    bundle.add({name: json.dumps(document).encode()})
    with pytest.raises(SignatureError, match=r"(manifest|report)\.json` was changed after the bundle was signed"):
        load(signed, public_key)


def test_an_added_graph_is_refused_until_the_bundle_is_signed_again(signed: Path, key: Path, public_key: Path) -> None:
    Bundle.open(signed).add({"onnx/forward.int8.onnx": b"x"})
    with pytest.raises(SignatureError, match=r"after the bundle was signed|was not signed"):
        load(signed, public_key)
    sign_again(signed, key)
    with pytest.raises(SignatureError, match="is about another `bundle`"):  # verified before there was an int8
        load(signed, public_key)


def test_a_missing_attestation_is_refused(signed: Path, key: Path, public_key: Path) -> None:
    attestations_of(signed, "fp16").unlink()
    sign_again(signed, key)
    with pytest.raises(SignatureError, match="has no attestation"):
        load(signed, public_key)


def test_the_attestation_of_another_engine_is_refused(signed: Path, key: Path, public_key: Path) -> None:
    shutil.copy(attestations_of(signed, "fp16"), attestations_of(signed, "fp32"))
    sign_again(signed, key)
    with pytest.raises(SignatureError, match="is about another `engine`"):
        load(signed, public_key, "fp32")


def without(name: str) -> Callable[[Statement], Statement]:
    def change(said: Statement) -> Statement:
        left = {subject: sha256 for subject, sha256 in said.subjects.items() if subject != name}
        return Statement(said.predicate_type, left, said.predicate)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("engine"), "does not name the engine"),
        (without("bundle"), "does not name the bundle"),
        (lambda s: Statement(s.predicate_type, {**s.subjects, "../x": "0" * 64}, s.predicate), "is about `../x`"),
        (lambda s: Statement(s.predicate_type, {**s.subjects, "probe.npz": "0" * 64}, s.predicate), "another `probe"),
        (lambda s: Statement("other", s.subjects, s.predicate), "has 0 statements of the type"),
        (lambda s: Statement(TEST_RESULT, s.subjects, {"result": "WARNED"}), "says WARNED"),
        (lambda s: Statement(TEST_RESULT, s.subjects, {"result": True}), "expected text"),
    ],
    ids=["no engine", "no bundle", "outside", "other data", "other type", "warned", "no result"],
)
def test_a_signed_statement_about_something_else_is_refused(
    signed: Path, key: Path, public_key: Path, change: Callable[[Statement], Statement], words: str
) -> None:
    path = attestations_of(signed, "fp16")
    first, second = statements_in(path)
    path.write_bytes(sign_statements([change(first), second], PrivateKey.read(key)))
    sign_again(signed, key)
    with pytest.raises(SignatureError, match=words):
        load(signed, public_key)


def test_an_attestation_by_someone_else_is_refused(
    signed: Path, key: Path, public_key: Path, make_key: MakeKey
) -> None:
    path = attestations_of(signed, "fp16")
    path.write_bytes(sign_statements(statements_in(path), PrivateKey.read(make_key("forger"))))
    sign_again(signed, key)
    with pytest.raises(SignatureError, match="jsonl` line 1 was not signed with the key"):
        load(signed, public_key)


def test_what_the_signer_left_out_counts_as_changed_if_the_manifest_lists_it(
    signed: Path, key: Path, public_key: Path
) -> None:
    statement = statement_in(signed)
    kept = [item for item in statement.predicate["resources"] if not item["name"].startswith("onnx/")]
    digest = root_digest({item["name"]: item["digest"] for item in kept})
    how = {**statement.predicate["serialization"], "ignore_paths": ["onnx"]}
    subject = [{"name": "B", "digest": {"sha256": digest}}]
    resign(signed, key, predicate={"resources": kept, "serialization": how}, subject=subject)
    with pytest.raises(SignatureError, match=r"onnx/.*` was not signed, although the manifest lists it"):
        load(signed, public_key)


def test_an_engine_from_elsewhere_runs_if_its_bytes_are_attested(signed: Path, public_key: Path) -> None:
    mine = signed.parent / "mine.onnx"
    shutil.copy(signed / "onnx" / "forward.fp16.onnx", mine)
    assert load(signed, public_key, str(mine)).verified
    mine.write_bytes(mine.read_bytes() + b"\x72\x00")  # another file with the same graph
    with pytest.raises(SignatureError, match="has no attestation"):
        load(signed, public_key, str(mine))


@pytest.mark.parametrize(("required", "given"), [("signed", False), (True, True), (False, True), ("sealed", True)])
def test_requirement_and_key_belong_together(signed: Path, public_key: Path, required: bool | str, given: bool) -> None:
    with pytest.raises(ConfigError):
        Embedder.load(signed, "fp16", required, public_key=public_key if given else None)  # type: ignore[arg-type]
