"""What `verify` asks before it believes a number. One theme a file; `docs/verify.md` explains each."""
