"""A bundle never chooses code or files to load: a person names them, or trusts exactly this bundle."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile import poisoned, write_manifest

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.cli import main
from advcal_edge.consent import Consent, Wants, read_trust, trust, trust_path, withdraw
from advcal_edge.errors import BundleError, ConfigError

Capture = pytest.CaptureFixture[str]
COMMANDS = (
    ("export", "--precision", "fp32"),
    ("verify", "--engine", "fp32"),
    ("verify", "--reference", "torch"),
    ("export", "--until-parity", "--precision", "fp16"),
)


def naming(bundle: Bundle, name: str, weights: str | None = None) -> Bundle:
    """The bundle with another encoder in its manifest."""
    manifest = json.loads((bundle.path / MANIFEST).read_text())
    manifest = poisoned(manifest, ("encoder", "name"), name)
    return Bundle.open(write_manifest(bundle, poisoned(manifest, ("encoder", "weights"), weights)))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_code_that_a_bundle_names_is_not_run(
    whole: Bundle, canary: Path, command: tuple[str, ...], capsys: Capture
) -> None:
    bundle = naming(whole, "canary:factory")
    name, *options = command
    assert main([name, str(bundle.path), *options]) == 2
    error = capsys.readouterr().err
    assert "wants to run the code `canary:factory`" in error
    assert bundle.origin()[:12] in error
    assert "--encoder canary:factory" in error
    assert f"advcal-edge trust {bundle.path}" in error
    assert not canary.exists()
    assert "canary" not in sys.modules


@pytest.mark.parametrize("name", ["builtins:exec", "os:system", "subprocess:call", "canary:factory", "sonar"])
def test_neither_builtins_nor_entry_points(
    whole: Bundle, canary: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "modules" / "sonar-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: sonar\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[advcal_edge.encoders]\nsonar = canary:factory\n")
    with pytest.raises(BundleError, match=f"wants to run the code `{name}`"):
        Consent().choose_encoder(naming(whole, name))
    assert not canary.exists()


def test_naming_the_code_runs_it(whole: Bundle, canary: Path, capsys: Capture) -> None:
    bundle = naming(whole, "canary:factory")
    assert main(["export", str(bundle.path), "--encoder", "canary:factory"]) == 2
    assert "expected an encoder" in capsys.readouterr().err
    assert canary.exists()


def test_naming_other_code_is_refused(whole: Bundle, canary: Path) -> None:
    with pytest.raises(ConfigError, match="was calibrated on the encoder `canary:factory`"):
        Consent(encoder="other:factory").choose_encoder(naming(whole, "canary:factory"))


def test_trust_is_for_exactly_one_calibration(whole: Bundle) -> None:
    bundle = naming(whole, "canary:factory", "/data/weights.pth")
    wants = trust(bundle)
    assert wants == Wants(bundle.origin(), "canary:factory", "/data/weights.pth")
    assert Consent(weights=Path("w")).choose_encoder(bundle).name == "canary:factory"
    exported = bundle.add({"onnx/other.onnx": b"another graph"})
    assert Consent(weights=Path("w")).choose_encoder(exported).name == "canary:factory"
    for changed in (
        poisoned(dict(bundle.manifest), ("encoder", "name"), "canary:other"),
        poisoned(dict(bundle.manifest), ("encoder", "weights"), "/etc/shadow"),
        poisoned(dict(bundle.manifest), ("seed",), 1),
    ):
        with pytest.raises(BundleError, match="nobody has allowed that here"):
            Consent().choose_encoder(Bundle.open(write_manifest(bundle, changed)))


def test_trust_can_be_withdrawn(whole: Bundle) -> None:
    bundle = naming(whole, "canary:factory")
    assert not withdraw(bundle)
    trust(bundle)
    assert withdraw(bundle)
    with pytest.raises(BundleError, match="nobody has allowed that here"):
        Consent().choose_encoder(bundle)


def test_trust_lies_where_only_its_owner_writes(whole: Bundle) -> None:
    bundle = naming(whole, "canary:factory")
    trust(bundle)
    assert trust_path(bundle.origin()).parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "advcal-edge/trust/1", "encoder": 7, "weights": null}'])
def test_damaged_trust_is_no_trust(whole: Bundle, text: str) -> None:
    bundle = naming(whole, "canary:factory")
    trust(bundle)
    trust_path(bundle.origin()).write_text(text)
    with pytest.raises(ConfigError, match="trust"):
        read_trust(bundle.origin())
    withdraw(bundle)


def test_the_command_says_what_it_trusts(whole: Bundle, capsys: Capture) -> None:
    bundle = naming(whole, "canary:factory", "/data/weights.pth")
    assert main(["trust", str(bundle.path)]) == 0
    assert capsys.readouterr().out == "may run the code canary:factory\nmay read the weights /data/weights.pth\n"
    assert main(["trust", str(bundle.path), "--withdraw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "bundle": bundle.origin(), "code": "canary:factory", "weights": "/data/weights.pth", "trusted": False
    }  # fmt: skip
    assert main(["trust", str(naming(whole, "bindlite").path)]) == 0
    assert "nothing to trust" in capsys.readouterr().out


def test_inspect_shows_what_a_bundle_would_load(whole: Bundle, canary: Path, capsys: Capture) -> None:
    bundle = naming(whole, "canary:factory", "/data/weights.pth")
    assert main(["inspect", str(bundle.path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("would load"))
    assert "code canary:factory, weights /data/weights.pth: not allowed" in line
    trust(bundle)
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wants"]["trusted"] is True
    withdraw(bundle)
    assert not canary.exists()


def test_weights_outside_the_bundle_are_not_opened(whole: Bundle, tmp_path: Path) -> None:
    for stored in ("/etc/passwd", str(tmp_path / "weights.pth"), "../weights.pth", "~/weights.pth", "absent.pth"):
        with pytest.raises(BundleError, match="wants to read the weights"):
            Consent().choose_encoder(naming(whole, "imagebind", stored))
    assert Consent(weights=tmp_path).choose_encoder(naming(whole, "imagebind", "/etc/passwd")).weights == tmp_path


def test_weights_inside_the_bundle_are_opened_if_listed_and_whole(whole: Bundle) -> None:
    bundle = naming(whole.add({"weights/a.bin": b"one", "weights/b.bin": b"two"}), "languagebind", "weights")
    assert Consent().choose_encoder(bundle).weights == bundle.path / "weights"
    assert Wants.of(bundle).nothing
    (bundle.path / "weights" / "b.bin").write_bytes(b"six")
    with pytest.raises(BundleError, match="was changed or truncated"):
        Consent().choose_encoder(bundle)


def test_what_a_factory_is_given_is_typed(whole: Bundle) -> None:
    chosen: Any = Consent(encoder="canary:factory").choose_encoder(naming(whole, "canary:factory"))
    assert (chosen.modality, chosen.weights) == ("thermal", None)


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "openclip:ViT-B-32", "hf", "siglip", "dinov2"])
def test_a_library_by_name_is_no_foreign_code_but_its_weights_are_asked_for(whole: Bundle, name: str) -> None:
    bundle = naming(whole, name, "/data/weights")
    assert Wants.of(bundle) == Wants(bundle.origin(), None, "/data/weights")
    with pytest.raises(BundleError, match="wants to read the weights `/data/weights`, which lie outside it"):
        Consent().choose_encoder(bundle)
    assert Consent(weights=Path("w")).choose_encoder(bundle).weights == Path("w")


@pytest.mark.parametrize("name", ["hf:etc", "siglip:etc", "bindlite:x", "timm.models:x"])
def test_a_bundle_does_not_name_a_folder_with_its_encoder(whole: Bundle, name: str, capsys: Capture) -> None:
    with pytest.raises(BundleError, match=f"wants to run the code `{name}`"):
        Consent().choose_encoder(naming(whole, name))
    assert main(["export", str(whole.path), "--encoder", name, "--precision", "fp32"]) == 2
    err = capsys.readouterr().err
    assert "takes no name after it" in err or "cannot be imported" in err


@pytest.mark.parametrize("name", ["hf:/etc", "siglip:../x", "timm:", "timm:hf-hub:someone/model"])
def test_a_path_is_no_part_of_an_encoders_name(whole: Bundle, name: str) -> None:
    with pytest.raises(BundleError, match="expected the name of an encoder"):
        naming(whole, name)
