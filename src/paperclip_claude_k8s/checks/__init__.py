"""The environment test: would a run start in this cluster, and what would not work?

`run_checks` is the entry point. `collect` calls the cluster and draws no conclusions. `assess` and `dry_run`
are pure: they turn the collected `observations` into checks. `probe` runs a short Job and reports how it
ended. `rights` lists every right that the adapter uses, and `role` builds the Role that grants them.
"""
