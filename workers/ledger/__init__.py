"""The ledger: writing it, asking it, checking it, rebuilding a directory from it."""
