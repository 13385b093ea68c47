"""The environment test: would a run start in this cluster, and what would not work?

`run_checks` is the entry point. `collect` calls the cluster and draws no conclusions. `probe` runs a short
Job and reports how it ended. All other modules are pure: `assess`, `dry_run`, `session_checks`, `workspaces`
and `agent_surroundings` turn the collected `observations` into checks. `rights` lists every right that the
adapter uses, `role` builds the Role that grants them, and `setup_objects` builds what else a namespace for
agents needs.
"""
