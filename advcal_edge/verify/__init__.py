"""Prove, by attacking the exported engine, that it is as robust as the model that was calibrated."""

from advcal_edge.verify.budget import BUDGETS, Budget
from advcal_edge.verify.check import Check
from advcal_edge.verify.comparison import Comparison
from advcal_edge.verify.evidence import Samples
from advcal_edge.verify.report import Report
from advcal_edge.verify.verification import Verification

__all__ = ["BUDGETS", "Budget", "Check", "Comparison", "Report", "Samples", "Verification"]
