"""The ops: one folder each, of the op's name."""
