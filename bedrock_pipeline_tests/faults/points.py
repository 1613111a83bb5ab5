"""Every point at which a process is killed, in one place.

An effect is a method that changes something outside of the process: an object in S3, a job at Bedrock, a commit in
Postgres. Each is a point twice: just before it, and just after it was acknowledged.
"""

from typing import Any

#: What must go wrong (or be requested) for an effect to be reached, and the effects that are reached then.
SCENARIOS: dict[str, tuple[str, ...]] = {
    "plain": (
        "objects.upload",
        "objects.put",
        "objects.copy",
        "jobs.create",
        "datasets.ensure",
        "datasets.begin_preparation",
        "datasets.record_snapshot",
        "datasets.enter_chunks",
        "publications.record",
        "publications.begin_latest",
        "publications.record_latest",
        "submissions.intend",
        "submissions.record_accepted",
        "observed.observe",
        "quota_groups.record_others",
        "chunks.record_collected",
        "interventions.record_orphans",
    ),
    "throttled": ("submissions.requeue",),
    "answer lost": ("submissions.mark_in_doubt", "submissions.intend_again"),
    "refused": ("submissions.reject", "interventions.retry_rejected"),
    "conflict": ("submissions.need_resolution", "interventions.resolve_without_job"),
    "cancelled": ("interventions.cancel", "jobs.stop"),
    "retryable": ("retry_rounds.enter", "calls.claim", "calls.begin", "calls.record", "runtime.invoke"),
    "retryable, and the model is busy": ("calls.requeue",),
    "retryable, and calls are denied": ("calls.reject",),
}

_RETRYABLE = {"kind": "record_error", "record_ids": ["r1", "r2", "r3"], "error_code": 429}
#: What the service does in a scenario.
SERVICE_FAULTS: dict[str, tuple[dict[str, Any], ...]] = {
    "retryable": (_RETRYABLE,),
    "retryable, and the model is busy": (
        _RETRYABLE,
        {"kind": "error", "operation": "InvokeModel", "error": "ThrottlingException", "times": 12},
    ),
    "retryable, and calls are denied": (
        _RETRYABLE,
        {"kind": "error", "operation": "InvokeModel", "error": "AccessDeniedException", "times": 3},
    ),
}

#: Methods that change nothing.
READS = {
    "objects": {"get", "get_at_most", "open", "random_access", "download", "list", "head"},
    "jobs": {"list", "find", "get"},
    "datasets": {"get", "recent", "to_launch", "progress"},
    "versions": {"history", "current", "newest_day", "settings", "needs_new_version"},
    "served_pipelines": {"known", "now", "removed"},
    "publications": {"due"},
    "submissions": {"due", "out_of_reach", "to_reconcile"},
    "spending": {"measured", "budget", "exhausted"},
    "observed": {"in_flight", "known", "backoffs", "counts", "unreachable_regions"},
    "incarnations": {"current", "number_of", "is_known"},
    "quota_groups": {"all", "max_jobs", "open_models"},
    "chunks": {"by_key", "has", "of_dataset", "of_pipeline", "by_id", "requeued", "to_collect", "is_final"},
    "retention": {"older_than", "snapshot", "chunk_files", "count_events", "pruned_at"},
    "retry_rounds": {"due", "open_of", "next_sequence"},
    "calls": {"lines", "repeated"},
    "runtime": {"resolve", "resolved", "count_tokens"},
    "interventions": {"orphans"},
    "tasks": {"waiting", "size", "newest", "in_order"},
    "queues": {"get", "all", "today", "job", "jobs", "open_jobs", "later_chunks"},
    "token_buckets": set[str](),
}

#: Effects at which nobody is killed yet, and why that is bearable.
NOT_KILLED_YET = {
    "objects.delete": "only by `discard`, by `prune`, which finds what is left the next time, and by `pack`, whose mark stays",
    "objects.discard": "of a folder that nothing names, after another process was first; what is left does no harm",
    "datasets.request": "one commit of the command line; the user sees that it did not come back, and types it again",
    "datasets.fail_preparation": "a mark for the sensor and for an operator: without it the preparation is tried once more",
    "served_pipelines.seen": "a mark that the next tick makes where it is missing",
    "versions.end_cancelled": "a mark that the next publisher makes where it is missing",
    "versions.keep_settings": "a row that the next flush adds where it is missing; nothing refers to it before",
    "versions.judge_by_schema_only": "one commit of the command line; typed again, it changes nothing",
    "versions.judges_by_schema_only": "a decision that the next collection makes where it is missing",
    "retention.record_pruned": "one commit; broken off before it in retention/test_prune.py, the next `prune` makes it",
    "retry_rounds.hold": "a mark for an operator; without it the sensor requests a run once more, which makes the mark again",
    "interventions.give_up_submission": "one commit of the command line; typed again, it finds nothing left to give up",
    "interventions.give_up_job": "one commit of the command line; typed again, it finds nothing left to give up",
    "interventions.retry_job": "commits of the command line; typed again, it does what is left",
    "interventions.retry_publication": "one commit of the command line; typed again, it finds nothing left to allow",
    "publications.reject": "a mark for an operator: without it the publication is tried, and rejected, once more",
    "calls.end_withdrawn": "a withdrawn chunk whose process died is ended by the next one that would send its records",
    "interventions.release": "one commit of the command line; who typed it sees that it did not come back",
    "spending.approve": "one commit of the command line; the same approval again adds nothing",
    "interventions.adopt": "one commit, reached only after a database was restored",
    "interventions.need_resolution": "one commit, reached only after a database was restored; the next sweep does it",
    "tasks.add": "killed in test_queue.py, where four processes enqueue",
    "tasks.flushing": "a lease that expires; its holder is killed in test_queue.py",
    "queues.enter_chunks": "killed in test_queue.py, before and after",
    "publications.record_latest_checked": "a note of when to look again; without it a run looks at once",
    "queues.register": "one commit that every process repeats when it opens the queue",
    "queues.record_final": "a mark that the next look makes where it is missing",
    "observed.record_reached": "a note for `status`, which the next poll makes again",
    "incarnations.begin": "one commit, reached only after a database was restored; whoever looks next does it",
    "incarnations.record_sweep": "a mark that the next sweep makes",
    "quota_groups.move": "only after the account was changed; the next submission does it again",
    "quota_groups.set_max_jobs": "one commit of the command line; the same limit again changes nothing",
    "token_buckets.define": "one commit that every process repeats",
    "token_buckets.take": "a token that is lost is one less, never one more",
}
