"""What a run was asked for, the same in the program and in the processes that it starts."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ENCODERS = ("imagebind", "tiny")
MODALITIES = ("thermal", "audio")
PRECISIONS = ("fp32", "fp16", "bf16")
GROUPS = ("roofline", "onnx", "tensorrt", "tensorrt_rtx", "verify", "crafting", "calibrating", "torch")
"""In the order they run: what is quickly done or quickly missing comes first and leaves its time to the others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run."""

    modalities: tuple[str, ...]
    batches: tuple[int, ...]
    precisions: tuple[str, ...]
    encoder: str
    seconds: float
    """Of measuring in each cell, warm-up and preparation left out."""
    minutes: float
    """For everything."""
    skip: tuple[str, ...]
    craft_batch: int
    craft_steps: int
    verify_samples: int
    bundle: Path | None
    out: Path | None
    workshop: Path
    """Folder of graphs and plans, which processes hand to each other."""

    def to_json(self) -> dict[str, Any]:
        """What a result depends on, as plain types, without where things lie on this machine."""
        return {name: value for name, value in asdict(self).items() if not isinstance(value, Path)}


def parse(description: str, argv: list[str], workshop: Path) -> Settings:
    """Read a command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=ENCODERS, default="imagebind", help="`tiny` tries the program out")
    parser.add_argument("--modalities", type=words, default=MODALITIES, metavar="A,B", help="default thermal,audio")
    parser.add_argument("--batch", type=words, default=("1", "8"), metavar="N,N", help="default 1,8")
    parser.add_argument("--precisions", type=words, default=PRECISIONS, metavar="A,B", help="default fp32,fp16,bf16")
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring in each cell; default 1")
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything; default 10")
    parser.add_argument("--skip", type=words, default=(), metavar="A,B", help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--skip-verify", action="store_true", help="the same as `--skip verify`")
    parser.add_argument("--craft-batch", type=int, help="samples of PGD and of calibrating; default 64, tiny 4")
    parser.add_argument("--craft-steps", type=int, default=10)
    parser.add_argument("--verify-samples", type=int, default=240)
    parser.add_argument("--bundle", type=Path, help="an exported bundle to verify, instead of one that is made")
    parser.add_argument("--out", type=Path, help="another place for the JSON")
    args = parser.parse_args(argv)
    for option, found, known in (
        ("--modalities", args.modalities, MODALITIES),
        ("--precisions", args.precisions, PRECISIONS),
        ("--skip", args.skip, GROUPS),
    ):
        unknown = [name for name in found if name not in known]
        if unknown:
            parser.error(f"argument {option}: unknown {', '.join(unknown)}; expected some of {', '.join(known)}")
    if not args.batch or not all(size.isascii() and size.isdigit() and int(size) for size in args.batch):
        parser.error("argument --batch: expected positive whole numbers like 1,8")
    return Settings(
        modalities=args.modalities,
        batches=tuple(map(int, args.batch)),
        precisions=args.precisions,
        encoder=args.encoder,
        seconds=args.seconds,
        minutes=args.minutes,
        skip=(*args.skip, *(["verify"] if args.skip_verify else [])),
        craft_batch=args.craft_batch or {"imagebind": 64, "tiny": 4}[args.encoder],
        craft_steps=args.craft_steps,
        verify_samples=args.verify_samples,
        bundle=args.bundle,
        out=args.out,
        workshop=workshop,
    )


def words(text: str) -> tuple[str, ...]:
    """Words between commas, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
