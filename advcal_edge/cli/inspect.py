"""`advcal-edge inspect`: show a bundle and check that its files are unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, Json
from advcal_edge.commands import command
from advcal_edge.manifest import SIGNATURE

if TYPE_CHECKING:
    from advcal_edge.bundle import Bundle

LONGEST_WORD = 64  # a sha256 in hexadecimal


def inspect(bundle: BundlePath, json_output: Json = False) -> None:
    """Check all hashes of a bundle and show its content."""
    from advcal_edge.bundle import Bundle
    from advcal_edge.cli.bundle_text import megabytes, render

    console = Console(json_output=json_output)
    opened = Bundle.open(bundle)
    files = opened.manifest["files"]
    console.say(f"inspect  {bundle}  {len(files)} files")
    for done, name in enumerate(files, 1):
        opened.file(name)
        console.progress("check hashes", done, len(files))
    data = describe(opened)
    console.result(render(data))
    console.document(data)
    size = sum((bundle / name).stat().st_size for name in files)
    console.say(f"all {len(files)} files ({megabytes(size)}) are as the manifest says, and {say_sections(opened)}")
    if data["signature"] is not None:
        console.say(
            f"signed with the key {data['signature']['key'][:12]}, as `{SIGNATURE}` says; `verify --check` checks it"
        )
    unlisted = data["unlisted"]
    if unlisted:
        console.say(f"not in the manifest, never used: {', '.join(unlisted)}")
    for left in data["leftovers"]:
        after = f"`{left['goes_on']}` goes on" if left["goes_on"] else "the next command that writes here removes it"
        console.say(f"left by a command that was ended: `{left['path']}`, {left['what']}; {after}")
    if opened.comparison is not None:
        console.next(command("verify", bundle, "--engine", "FILE"))
    else:
        console.next(f"advcal-edge {'verify' if data['graphs'] else 'export'} {bundle}")


def say_sections(bundle: Bundle) -> str:
    """Are the sections of the manifest as they were written? An edit is an error wherever a bundle is opened."""
    from advcal_edge.manifest import SECTIONS

    stated = bundle.manifest.get(SECTIONS)
    return "no hashes tell whether its sections were edited" if stated is None else f"so are its {len(stated)} sections"


def describe(bundle: Bundle) -> dict[str, Any]:
    """The bundle as plain types; sections missing in the manifest are None."""
    from advcal_edge.leftovers import foreign, leftovers

    manifest = bundle.manifest
    centers = bundle.centers() if bundle.has("centers.safetensors") else None
    return {
        "path": str(bundle.path),
        "schema": manifest["schema"],
        "hashes": "ok",
        "comparison": manifest.get("comparison"),
        "encoder": manifest.get("encoder"),
        "wants": describe_wants(bundle),
        "modality": bundle.modality.to_json() if "modality" in manifest else None,
        "threat": manifest.get("threat"),
        "adapter": manifest.get("adapter"),
        "centers": None
        if centers is None
        else {"labels": list(centers.labels), "temperature": centers.temperature, "source": centers.source},
        "samples": {
            name: len(bundle.samples(f"{name}.npz").y) for name in ("probe", "calibration") if bundle.has(f"{name}.npz")
        },
        "metrics": manifest.get("metrics"),
        "graphs": describe_graphs(bundle),
        "missing": dict(manifest.get("graphs", {}).get("missing", {})),
        "plans": describe_plans(bundle),
        "reports": describe_reports(bundle),
        "signature": describe_signature(bundle),
        "unlisted": foreign(bundle.path, manifest["files"]),
        "leftovers": [left.to_json() for left in leftovers(bundle.path)],
    }


def describe_wants(bundle: Bundle) -> dict[str, Any]:
    """What the bundle would load from outside itself and this package, and whether that is trusted."""
    from advcal_edge.consent import Wants, read_trust

    wants = Wants.of(bundle)
    trusted = read_trust(wants.bundle) is not None
    return {"bundle": wants.bundle, "code": wants.code, "weights": wants.weights, "trusted": trusted}


def describe_signature(bundle: Bundle) -> dict[str, Any] | None:
    """What the signature says of itself, unverified; None without one that can be read."""
    from advcal_edge.attestation.signature import read_signature
    from advcal_edge.errors import BundleError

    try:
        signed = read_signature(bundle.path, None)
    except BundleError:
        return None
    return {"key": signed.hint, "files": len(signed.sha256)}


def describe_graphs(bundle: Bundle) -> dict[str, Any]:
    """Each exported graph with its size and hash, and the exporter's record of it."""
    recorded = bundle.manifest.get("graphs", {}).get("files", {})
    return {
        name: {**recorded.get(name, {}), "sha256": entry["sha256"], "bytes": (bundle.path / name).stat().st_size}
        for name, entry in bundle.manifest["files"].items()
        if name.endswith((".onnx", ".xml"))
    }


def describe_plans(bundle: Bundle) -> dict[str, Any]:
    """Each plan with its metadata, and whether its source graph is still the bundle's."""
    from advcal_edge.runtime.engine import listed_digest, plan_metadata

    plans = {}
    for name, metadata in plan_metadata(bundle).items():
        current = bundle.has(metadata.graph) and listed_digest(bundle, metadata.graph) == metadata.graph_sha256
        plans[name] = {**metadata.to_json(), "current": current}
    return plans


def describe_reports(bundle: Bundle) -> dict[str, Any]:
    """Each report with its verdict, its engine's file (None if that is gone or was replaced), rule and self-test."""
    from advcal_edge.expectations import selftest_beside
    from advcal_edge.runtime.engine import listed_digest

    files = bundle.manifest["files"]
    reports = {}
    for name in files:
        if name.endswith("/report.json"):
            report = as_object(read_report(bundle, name))
            engine = as_object(as_object(report.get("measured")).get("engine"))
            judged = as_word(engine.get("sha256"))
            graphs = [graph for graph in files if judged is not None and listed_digest(bundle, graph) == judged]
            derived = as_object(report.get("derived"))
            verdict = as_word(derived.get("verdict"))
            reports[name] = {
                "verdict": verdict,
                "engine": judged,
                "graph": next(iter(graphs), None),
                "selftest": bundle.has(selftest_beside(name)),
                "abstention": stated_rule(derived.get("abstention")) if verdict == "pass" else None,
            }
    return reports


def stated_rule(abstention: object) -> dict[str, float | None] | None:
    """Threshold and alpha of the rule that a report states, without a threshold where none keeps to alpha; or None."""
    stated = as_object(abstention)
    alpha, threshold = stated.get("alpha"), stated.get("threshold")
    if not isinstance(alpha, float) or not (threshold is None or isinstance(threshold, float)):
        return None
    return {"threshold": threshold, "alpha": alpha}


def read_report(bundle: Bundle, name: str) -> object:
    """Content of a report; None if it is too large or not JSON."""
    from advcal_edge.documents import parse_json
    from advcal_edge.errors import BundleError
    from advcal_edge.limits import REPORT_BYTES

    try:
        return parse_json(bundle.read(name, REPORT_BYTES), name, BundleError)
    except BundleError:
        return None


def as_word(value: object) -> str | None:
    """A verdict or a hash; None for anything else, including a text longer than either."""
    return value if isinstance(value, str) and len(value) <= LONGEST_WORD else None


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one for anything else; unknown content is shown as unknown."""
    return value if isinstance(value, dict) else {}
