"""Runs that outlive the command that started them.

A *call* is one execution of a command about a run; its *reply* is the JSON object on stdout. A run's
*outcome* is the reply that reports how the run ended.

Each run has a folder in the state folder: `record.json` (what to run, on which cluster, how far it has come,
its outcome), the agent's stdout and stderr, a log, a lock, and an empty file that requests to cancel the run.
Any later call can continue from there, even after SIGKILL at any moment, because each step is written down
before the next one is taken:

    replies         the replies, `Stop` (why a call ends early) and exit codes
    record          the record of one run, and replies that need nothing else
    disk            the only module that writes files
    state           the state folder; one lock per run
    decide          what a call does next, judged from the record and the cluster
    call            the options of one call, and what the modules below share about it
    wait            waiting for the reply while other calls may be working on the same run
    worker          the work of the call that holds the lock
    journal         writes record, transcript and log during the run
    mirrored_file   a transcript that keeps each line once, however often the log is read again
    output          copies for --output
    watched_files   shows a run on which another process works, from the run's files
    poller          when to check the status, and when to give up
    quota_gate      the request to a quota service before a new run starts
    reachability    whether the API server answers at all
    run_target      which cluster a run is on, and the status of its Jobs there
"""
