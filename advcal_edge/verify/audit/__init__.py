"""A stored report, checked without running an attack: its hashes against the files, its figures against its flags."""

from advcal_edge.verify.audit.finding import Finding
from advcal_edge.verify.audit.whole import audit

__all__ = ["Finding", "audit"]
