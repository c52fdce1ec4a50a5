"""The module that is attacked, exported and run: frozen trunk with the adapter merged, head, L2 norm."""

from __future__ import annotations

import torch
from torch import nn

from advcal_edge.attacks import ATTACK_BATCH
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.adapters import AdaptedModule, Adapter, attach_adapter, merge
from advcal_edge.calibrate.compute import choose_device
from advcal_edge.calibrate.memory import estimate_memory, free_memory
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.encoders.base import Encoder, fit_sensor, open_encoder
from advcal_edge.errors import BundleError
from advcal_edge.spec import TensorSpec


def deploy_module(encoder_module: nn.Module, adapter: Adapter) -> nn.Module:
    """Physical x (n, ...) -> z (n, d) of unit norm, frozen, in eval mode; takes ownership of `encoder_module`.

    Raises:
        BundleError: the adapter's tensors do not fit the encoder.
    """
    model = attach_adapter(encoder_module, adapter.config, adapter.embedding_dim, seed=0)
    adapter.fill(model)
    merge(model)
    return model.eval().requires_grad_(False)


def module_from_bundle(bundle: Bundle, consent: Consent = NOTHING) -> nn.Module:
    """Rebuild the deployed module (n, ...) -> (n, d) from a bundle, on the CPU; `consent` limits what it may load.

    Raises:
        BundleError: the encoder's code or weights may not be loaded, the weights differ from those of the
            calibration, or a file is damaged.
        ConfigError: the encoder is unknown to this version.
        InputError: its checkpoint cannot be used.
    """
    encoder = encoder_of(bundle, consent)
    if bundle.comparison is not None:
        return AdaptedModule(encoder.module()).eval().requires_grad_(False)
    return deploy_module(encoder.module(), Adapter.load(bundle.file("adapter.safetensors")))


def encoder_of(bundle: Bundle, consent: Consent = NOTHING) -> Encoder:
    """The frozen encoder with which a bundle was calibrated.

    Raises:
        BundleError: its code or weights may not be loaded, or the weights have changed since.
        ConfigError: the encoder is unknown to this version.
        InputError: its checkpoint cannot be used.
    """
    chosen, expected = consent.choose_encoder(bundle), bundle.section("encoder")["weights_sha256"]
    encoder = open_encoder(chosen.name, chosen.modality, chosen.weights)
    if encoder.fingerprint != expected:
        raise BundleError(
            f"the weights of `{chosen.name}` ({chosen.modality}) have sha256 {encoder.fingerprint[:12]};"
            f" `{bundle.path}` was calibrated on {expected[:12]}",
            hint="say where those are: `--weights PATH`"
            if chosen.weights
            else "install the version that calibrated it",
        )
    own = encoder.modality.settings
    return fit_sensor(encoder, {k: v for k, v in bundle.modality.settings.items() if own.get(k) != v})


def reference_runner(bundle: Bundle, consent: Consent = NOTHING, device: str = "cpu") -> TorchRunner:
    """The calibrated model of a bundle, with which its engines are compared, on a device as `choose_device` names it.

    Raises:
        BundleError: as for `module_from_bundle`.
        ConfigError: the device is not there.
    """
    return runner_on(choose_device(device), module_from_bundle(bundle, consent), bundle.modality.input)


def frozen_runner(bundle: Bundle, consent: Consent = NOTHING, device: str = "cpu") -> TorchRunner:
    """The frozen encoder of a bundle without its adapter.

    Raises:
        BundleError: as for `encoder_of`.
        ConfigError: the device is not there.
    """
    return runner_on(choose_device(device), AdaptedModule(encoder_of(bundle, consent).module()), bundle.modality.input)


def runner_on(device: torch.device, module: nn.Module, spec: TensorSpec) -> TorchRunner:
    """A runner of a frozen module on `device`, with as many samples at a time as fit there."""
    module = module.to(device)
    free = free_memory(device)
    if free is None:
        return TorchRunner(module, spec)
    memory = estimate_memory(module, spec.shape)
    chunk = None if memory is None else max(1, memory.fits(free + memory.weights))
    return TorchRunner(module, spec, None if chunk is None or chunk >= ATTACK_BATCH else chunk)
