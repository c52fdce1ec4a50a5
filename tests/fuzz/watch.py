"""What an action did to the process, the disk and the terminal, and which of it must never happen."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advcal_edge.errors import AdvcalError
from fuzz import ROOT
from fuzz.case import Action
from fuzz.poisons import BAIT

MEMORY = 768  # MiB that one action may grow by; the limits in force are lowered to fit, see `worker.LIMITS`

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, beyond the end of a line and a tab."""

PACKAGES = frozenset(
    {"advcal_edge", "array_api_compat", "cffi", "click", "colorama", "cuda", "cv2", "fuzz", "google", "h5py", "jinja2",
     "aedat", "blosc", "markupsafe", "ml_dtypes", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "packaging",
     "plyfile", "polygraphy", "safetensors", "shellingham", "soundfile", "tensorrt", "tensorrt_rtx",
     "tensorrt_rtx_bindings", "tests", "tokenizers", "tomli", "torch", "torchgen", "triton", "typer",
     # what those bring with them
     "PIL", "_cffi_backend", "_soundfile", "_soundfile_data", "annotated_doc", "annotated_types", "charset_normalizer",
     "cython_runtime", "fsspec", "functorch", "mpmath", "networkx", "pydantic", "pydantic_core", "scipy", "sympy",
     "typing_extensions", "typing_inspection"}
)  # fmt: skip
"""What may be imported beside the standard library."""

MADE_UP = ("_cython_", "_sysconfigdata_")
"""How modules begin that are named after a version or a system."""

STANDARD = frozenset(sys.stdlib_module_names)

BAITED = frozenset({BAIT, "antigravity", "this", "pty", "webbrowser", "telnetlib"})
"""Modules that only the wish of a hostile file would import."""

PROCESSES = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen",
             "pty.spawn", "socket.connect", "socket.bind", "pickle.find_class", f"{BAIT}.ran")  # fmt: skip
WRITES = {"os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
          "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.mkfifo": 1, "shutil.rmtree": 1}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not happen and did; equal signatures are the same defect as far as can be told."""

    kind: str
    signature: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """Plain types."""
        return {"kind": self.kind, "signature": self.signature, "detail": self.detail}


@dataclass
class Watch:
    """The watch over one worker: installed once, switched on for the length of each action."""

    allowed: Path = Path()
    """The one folder that may be written below."""
    on: bool = False
    found: list[Violation] = field(default_factory=list)

    def install(self) -> None:
        """Listen to the interpreter's own events from now on; there is no way to stop."""
        sys.addaudithook(self._hear)

    def report(self, kind: str, what: str, detail: str = "") -> None:
        """Note a violation."""
        self.found.append(Violation(kind, f"{kind}: {what}", detail or what))

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes, os.PathLike)) and isinstance(flags, int) and flags & WRITING:
                self._judge(event, path)
        elif event in WRITES:
            for path in arguments[: WRITES[event]]:
                if isinstance(path, (str, bytes, os.PathLike)):
                    self._judge(event, path)
        elif event in PROCESSES and not is_second_opinion(event, arguments):
            self.report("process", event, f"{event} {arguments!r:.300}\n{calls()}")

    def _judge(self, event: str, path: Any) -> None:
        told = Path(os.path.abspath(os.fsdecode(path)))  # as the system sees it; links are none here
        if told != Path(os.devnull) and not told.is_relative_to(self.allowed):
            self.report("write", f"{event} outside of the case's folder", f"{event} `{told}`\n{calls()}")

    @contextmanager
    def over(self, action: Action) -> Iterator[None]:
        """Watch one action: modules, memory, and the files that it may only read."""
        before, kept = set(sys.modules), {name: snapshot(Path(name)) for name in action.keeps}
        grown = forget_peak()
        self.on = True
        try:
            yield
        finally:
            self.on = False
        for name in {module.partition(".")[0] for module in set(sys.modules) - before}:
            if name in BAITED or (name not in PACKAGES | STANDARD and not name.startswith(MADE_UP)):
                self.report("import", f"of `{name}`")
        if (peak := grown()) > MEMORY:
            self.report("memory", f"in {action.verb}", f"grew by {peak} MiB; expected at most {MEMORY}")
        for name, known in kept.items():
            now = snapshot(Path(name))
            changed = sorted(path for path in known.keys() | now.keys() if known.get(path) != now.get(path))
            if changed:
                self.report("changed", f"by {action.verb} {action.arguments[:1]}", f"`{name}`: {', '.join(changed)}")


def judge_call(watch: Watch, call: Callable[[], object]) -> str:
    """Run one call of the API: `ok`, or `refused` with an error of ours; anything else is a violation."""
    try:
        call()
    except AdvcalError:
        return "refused"
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        watch.report("exception", where(error), "".join(traceback.format_exception(error))[-3000:])
        return "violation"
    return "ok"


def judge_command(watch: Watch, code: object, told: str) -> str:
    """What the exit code and the words of a command come to."""
    if "internal error:" in told:
        cut = told.index("internal error:")
        last = re.findall(r'File "([^"]+)", line (\d+)', told)
        ours = [f"{Path(file).name}:{line}" for file, line in last if is_ours(file)][-1:]
        kind = told[cut:].split("\n")[0].split(":")[1].strip()
        watch.report("internal error", f"{kind} at {', '.join(ours)}", told[-3000:])
    elif "out of memory" in told:
        watch.report("memory", "exhausted", told[-1000:])
    elif code not in (0, 1, 2):
        watch.report("exit code", repr(code), told[-1000:])
    return {0: "ok", 1: "ok", 2: "refused"}.get(code if isinstance(code, int) else -1, "violation")


def judge_text(watch: Watch, action: Action, told: bytes) -> None:
    """Nothing that a command prints may command the terminal."""
    try:
        text = told.decode("utf-8")
    except UnicodeDecodeError as error:
        watch.report("control", f"bytes that are no text, by {action.verb}", f"{error}: {told[-500:]!r}")
        return
    if found := OBEYED.search(text):
        near = text[max(0, found.start() - 60) : found.end() + 30]
        watch.report("control", f"{found[0]!a} printed by {action.arguments[:1]}", ascii(near))


def where(error: BaseException) -> str:
    """Type of an error, and the deepest line of the package that it passed through."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if is_ours(frame.filename)]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside of the package"
    return f"{type(error).__name__} at {place}"


def is_ours(file: str) -> bool:
    """Whether a source file is one of the package."""
    path = Path(file)
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in ("tests", ".venv")


def calls() -> str:
    """The calls that lead here, without our own."""
    return "".join(traceback.format_stack()[-12:-2])


def is_second_opinion(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether this is `--cross-check`, which a run can have been started with: polygraphy in our own interpreter."""
    command = list(arguments[1]) if event == "subprocess.Popen" else []
    return command[:2] == [sys.executable, "-c"] and "polygraphy" in command[2]


def snapshot(root: Path) -> dict[str, Sequence[Any]]:
    """Every file below a folder (or the file itself): kind, time and content."""
    paths = [root, *sorted(root.rglob("*"))] if root.is_dir() else [root]
    found: dict[str, Sequence[Any]] = {}
    for path in paths:
        try:
            status = path.lstat()
        except OSError:
            continue
        regular = stat.S_ISREG(status.st_mode)
        content = hashlib.sha256(path.read_bytes()).hexdigest() if regular else ""
        changed = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
        found[str(path)] = (status.st_mode, changed, content)
    return found


def forget_peak() -> Callable[[], int]:
    """Start measuring: the result says by how many MiB memory has grown at most since."""
    start = resident("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    except OSError:
        return lambda: 0
    return lambda: (resident("VmHWM") - start) // 1024


def resident(name: str) -> int:
    """One line of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
