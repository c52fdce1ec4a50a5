"""Prove, by attacking the exported engine, that it is as robust as the model that was calibrated.

Called, the package runs `advcal_edge.verify.run.verify`.
"""

from advcal_edge.verb import make_verb
from advcal_edge.verify.budget import BUDGETS, Budget
from advcal_edge.verify.model_set import ModelSet
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.report import Report
from advcal_edge.verify.samples import HeldOut, Samples
from advcal_edge.verify.shard import Shard
from advcal_edge.verify.state import State
from advcal_edge.verify.verification import Verification

__all__ = [
    "BUDGETS",
    "Budget",
    "HeldOut",
    "ModelSet",
    "Report",
    "Samples",
    "Shard",
    "State",
    "Verification",
    "VerifyOptions",
]

make_verb(__name__, "advcal_edge.verify.run")
