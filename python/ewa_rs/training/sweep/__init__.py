"""Many runs, made on this machine or on a Ray cluster, and one table of them."""
