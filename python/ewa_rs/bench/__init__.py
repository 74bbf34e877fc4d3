"""The benchmark behind `ewa bench`: the ops against what a user would write instead, as ratios.

`cases` is the registry of ops, shapes and dtypes, `peers` has a file for each library, `measure`
times them in turn, `worker` does so for one number of threads, `run` puts it all together,
`results` and `report` are what comes out.
"""
