"""What is wrong with an encoder of one's own, found by calls on two samples before any work is lost to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from advcal_edge.centers import Centers
from advcal_edge.encoders.base import GUIDE, Encoder
from advcal_edge.encoders.checkpoint import HALVES
from advcal_edge.errors import AdvcalError, ConfigError

TOLERANCE = 1e-3  # of the embedding's length, between batches: kernels may add in another order


def check_module(encoder: Encoder, x: Tensor) -> nn.Module:
    """A module of `encoder`, on the device of x, after calls on two samples x (2, ...) check all that is relied on.

    Raises:
        ConfigError: it is no module, fails, or its embeddings have another type, shape or width, are not finite,
            depend on the rest of the batch or on chance, or are cut off from x for gradients. One that is zero, as
            behind a rounding, is no error: `calibrate` says what follows from it.
    """
    module: nn.Module = _answer(encoder, "module", (nn.Module,), "a torch module").eval().to(x.device)
    name, dim = encoder.name, encoder.embedding_dim
    _check_precision(name, {f"its `{key}`": value.dtype for key, value in module.named_parameters()})
    with torch.no_grad():
        with _Operations() as operations:
            z = _called(name, module, x)
        _check_precision(name, operations.dtypes)
        _check_output(name, z, len(x), dim)
        again = _called(name, module, x)
        alone = torch.cat([_called(name, module, part) for part in torch.split(x, 1)])
    length = float(z.norm(dim=-1).mean())
    for found, words, hint in (
        (again, "two calls on the same samples differ", "leave out what draws random numbers: dropout, noise, masking"),
        (alone, "the embedding of a sample depends on the others in its batch",
         "leave out normalisation over the batch in `forward`; `module.eval()` makes BatchNorm use its own statistics"),
    ):  # fmt: skip
        if found.shape != z.shape or float((found - z).norm(dim=-1).max()) > TOLERANCE * max(length, 1e-6):
            raise ConfigError(f"the encoder `{name}`: {words}; expected the same embedding", hint=hint)
    _check_gradient(name, module, x)
    return module


def checked_centers(encoder: Encoder) -> Centers | None:
    """The centers that an encoder brings.

    Raises:
        ConfigError: `centers()` fails, or returns something else.
    """
    found: Centers | None = _answer(encoder, "centers", (Centers, type(None)), "`Centers` or None")
    return found


def _answer(encoder: Encoder, method: str, kinds: tuple[type, ...], expected: str) -> Any:
    """What a method of the encoder returns, of one of the `kinds`."""
    where = f"`{method}()` of the encoder `{encoder.name}`"
    try:
        found = getattr(encoder, method)()
    except AdvcalError:
        raise
    except Exception as error:
        raise ConfigError(f"{where} fails: {_short(error)}", hint=GUIDE) from error
    if not isinstance(found, kinds):
        raise ConfigError(f"{where} returned a {type(found).__name__}; expected {expected}", hint=GUIDE)
    return found


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the type that each operation inside the `with` block returns; conversions and views compute nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: dict[str, torch.dtype] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not func.is_view and func is not torch.ops.aten._to_copy.default:
            name = func.name().removeprefix("aten::").partition(".")[0]
            self.dtypes[f"`{name}` in {str(out.dtype).removeprefix('torch.')}"] = out.dtype
        return out


def _check_precision(name: str, dtypes: Mapping[str, torch.dtype]) -> None:
    """Refuse half precision inside: adapters are trained there, and compute in float32."""
    for place, dtype in dtypes.items():
        if dtype in HALVES:
            raise ConfigError(
                f"the encoder `{name}` computes in {dtype}: {place}; expected float32 throughout",
                hint="end the factory with `.float()`, and leave out `half` and `autocast` in `forward`;"
                " `export --precision fp16` rounds later",
            )


def _called(name: str, module: nn.Module, x: Tensor) -> Any:
    try:
        return module(x)
    except Exception as error:
        raise ConfigError(
            f"the encoder `{name}` fails on samples of shape {tuple(x.shape)} and type {x.dtype}: {_short(error)}",
            hint="its module takes x in the physical unit and shape of its `modality.input`, and normalises inside",
        ) from error


def _check_output(name: str, z: Any, n: int, dim: int) -> None:
    expected = f"expected a float32 tensor of shape ({n}, {dim})"
    if not isinstance(z, Tensor):
        kind = f"a mapping with {', '.join(map(repr, list(z)[:4]))}" if isinstance(z, Mapping) else type(z).__name__
        hint = "return the embedding alone, like `output.image_embeds` or `output[0]`"
        raise ConfigError(f"the encoder `{name}` returned {kind}; {expected}", hint=hint)
    if z.dtype != torch.float32:
        raise ConfigError(f"the encoder `{name}` returned {z.dtype}; {expected}", hint="end `forward` with `.float()`")
    if z.shape != (n, dim):
        shape = tuple(z.shape)
        hint = "one embedding per sample: the class token, or a mean over tokens or positions"
        if z.dim() == 2 and len(z) == n:
            hint = f"set `embedding_dim` to {z.shape[1]}, or end `forward` with the projection to {dim}"
        raise ConfigError(f"the encoder `{name}` returned the shape {shape}; {expected}", hint=hint)
    if not torch.isfinite(z).all():
        raise ConfigError(
            f"the encoder `{name}` returned values that are not finite; {expected}",
            hint="check its weights, and divisions and logarithms of zero in `forward`",
        )
    if not z.norm(dim=-1).all():
        raise ConfigError(f"the encoder `{name}` returned an embedding of length zero; {expected}", hint=GUIDE)


def _check_gradient(name: str, module: nn.Module, x: Tensor) -> None:
    leaf = x.clone().requires_grad_(True)
    lost = "the gradient of its embeddings does not reach the input"
    hint = "no `detach`, `no_grad`, `round`, `argmax` or conversion to NumPy between x and the embedding"
    try:
        with torch.enable_grad():
            z = _called(name, module, leaf)
            direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(z.device)
            (slope,) = torch.autograd.grad((z * direction).sum(), leaf)
    except RuntimeError as error:
        raise ConfigError(f"the encoder `{name}`: {lost}: {_short(error)}", hint=hint) from error
    if not torch.isfinite(slope).all():
        raise ConfigError(
            f"the encoder `{name}`: the gradient of its embeddings is not finite",
            hint="a root, norm or logarithm at zero: add a small constant inside",
        )


def _short(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return first[:200] or type(error).__name__
