"""Signed statements about a bundle: in-toto statements in DSSE envelopes, and one signature over all of its files.

Verification needs the package `cryptography` and nothing else, so that a robot can do it.
"""

from advcal_edge.attestation.keys import PrivateKey, PublicKey

__all__ = ["PrivateKey", "PublicKey"]
