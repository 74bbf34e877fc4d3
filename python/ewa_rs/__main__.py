"""`python -m ewa_rs` is the `ewa` command."""

from ewa_rs.cli import main

main()
