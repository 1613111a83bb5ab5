"""The statements behind `bedrock-pipeline status`: the datasets, the chunks of one, and those that wait for an operator."""

from typing import Final

#: The slots of the quota group of chunk `c`, if it is pending and needs one.
_SLOTS: Final = """
    LEFT JOIN LATERAL (
        SELECT jsonb_build_object(
            'quota_group', q.quota_group, 'pipeline', c.pipeline, 'slots', q.max_jobs, 'others', q.others, 'own_limit', c.max_jobs,
            'used', count(u.*), 'own', count(u.*) FILTER (WHERE u.pipeline = c.pipeline)) AS slots
        FROM bedrock_pipeline.quota_groups q
        LEFT JOIN bedrock_pipeline.chunks u
            ON u.quota_group = q.quota_group AND u.status <> 'pending' AND u.ended_at IS NULL
        WHERE q.quota_group = c.quota_group AND c.status = 'pending' AND c.mode = 'batch'
        GROUP BY q.quota_group) slots ON true"""

DATASETS: Final = """
    SELECT d.launch_requested_at IS NOT NULL AND NOT EXISTS (
               SELECT FROM bedrock_pipeline.served_pipelines p
               WHERE p.pipeline = d.pipeline AND p.seen_at > bedrock_pipeline.now() - %(running_within)s) AS unserved,
           d.packed_hash IS NULL AND d.publication = 0 AND NOT EXISTS (
               SELECT FROM bedrock_pipeline.chunks c WHERE c.pipeline = d.pipeline AND c.dataset = d.dataset) AS never_packed,
           EXISTS (SELECT FROM bedrock_pipeline.run_leases l
               WHERE (l.kind, l.pipeline, l.subject) = ('prepare', d.pipeline, d.dataset) AND l.state = 'acquired') AS preparing,
           (SELECT coalesce(jsonb_object_agg(l.kind, jsonb_build_array(l.subject, l.failure) ORDER BY l.subject DESC), '{}') FROM bedrock_pipeline.run_leases l
            WHERE l.pipeline = d.pipeline AND l.failure IS NOT NULL AND starts_with(l.failure, d.dataset || ' v' || d.version || ': ')) AS failures,
           n.in_doubt, n.unresolved, n.unresolved_key, n.unresolved_reason, d.launch_requested_at, d.launch_failure,
           d.open, d.collections, d.published_collections, n.to_collect, n.unfinished,
           d.pipeline, d.dataset, d.version, d.state, d.state_reason, d.publication_rejected, d.results_uri AS results, b.cap_usd, b.committed_usd, b.wanted_usd,
           n.records + d.packed_duplicates AS records, d.packed_duplicates AS duplicates,
           n.processed + d.duplicates_answered + d.duplicates_failed AS processed,
           n.answered + d.duplicates_answered AS answered, n.failed + d.duplicates_failed AS failed,
           coalesce(d.snapshot_rejected, 0) + coalesce(d.packed_rejected, 0) AS rejected,
           slots.slots, e.failed_by_code, n.retryable, n.waiting_records, n.cost_usd, n.expected_cost_usd, n.requeued, n.requeue_reason, n.until, n.backoff_until, n.backoff_reason, n.over_budget, s.chunks,
           CASE WHEN d.cancel_requested_at IS NULL THEN n.for_operator ELSE 0 END AS for_operator, n.operator_reason,
           CASE WHEN d.cancel_requested_at IS NULL THEN n.too_few ELSE 0 END AS too_few, n.too_few_reason
    FROM (SELECT * FROM bedrock_pipeline.current_versions v
          WHERE (%(pipeline)s::text IS NULL OR pipeline = %(pipeline)s)
            AND (dataset = %(dataset)s::text OR %(dataset)s::text IS NULL
              AND NOT (state = 'cancelled' AND packed_hash IS NULL AND publication = 0 AND NOT EXISTS (
                SELECT FROM bedrock_pipeline.chunks c WHERE c.pipeline = v.pipeline AND c.dataset = v.dataset)))
          ORDER BY created_at DESC, pipeline, dataset LIMIT %(limit)s) d
    LEFT JOIN bedrock_pipeline.budgets b USING (pipeline, dataset, version)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.records) FILTER (WHERE attempt = 1), 0)::bigint AS records,
               coalesce(sum(CASE WHEN collected_at IS NULL THEN least(coalesce(processed_count, 0), c.records)
                                 ELSE answered + final_errors END), 0)::bigint AS processed,
               coalesce(sum(answered), 0)::bigint AS answered, coalesce(sum(final_errors), 0)::bigint AS failed,
               coalesce(sum(o.records), 0)::bigint AS retryable,
               coalesce(sum(o.records) FILTER (WHERE o.waits_for IS NOT NULL), 0)::bigint AS waiting_records,
               CASE WHEN count(collected_at) = count(cost_usd) THEN sum(cost_usd) END AS cost_usd,
               CASE WHEN count(*) = count(w.usd) THEN sum(w.usd) END AS expected_cost_usd,
               count(*) FILTER (WHERE c.status = 'pending' AND requeued_since IS NOT NULL) AS requeued,
               count(*) FILTER (WHERE h.for_operator) AS for_operator,
               count(*) FILTER (WHERE h.too_few) AS too_few,
               (array_agg(coalesce(o.wait_reason, c.status_message) ORDER BY c.chunk_key) FILTER (WHERE h.too_few))[1] AS too_few_reason,
               count(*) FILTER (WHERE c.status = 'in-doubt') AS in_doubt,
               count(*) FILTER (WHERE c.status = 'needs-resolution') AS unresolved,
               (array_agg(c.chunk_key ORDER BY c.chunk_key) FILTER (WHERE c.status = 'needs-resolution'))[1] AS unresolved_key,
               (array_agg(c.status_message ORDER BY c.chunk_key) FILTER (WHERE c.status = 'needs-resolution'))[1] AS unresolved_reason,
               count(*) FILTER (WHERE c.collected_at IS NULL OR o.chunk_id IS NOT NULL) AS unfinished,
               count(*) FILTER (WHERE c.collected_at IS NULL AND c.ended_at IS NOT NULL AND h.for_operator IS NOT TRUE) AS to_collect,
               (array_agg(coalesce(o.wait_reason, c.status_message) ORDER BY c.chunk_key) FILTER (WHERE h.for_operator))[1] AS operator_reason,
               min(greatest(c.next_attempt_at, g.backoff_until)) FILTER (WHERE c.status = 'pending' AND requeued_since IS NOT NULL
                   AND greatest(c.next_attempt_at, g.backoff_until) > bedrock_pipeline.now()) AS until,
               max(g.backoff_until) AS backoff_until,
               (array_agg(g.backoff_reason ORDER BY g.backoff_until DESC NULLS LAST))[1] AS backoff_reason,
               (array_agg(requeue_reason ORDER BY next_attempt_at)
                   FILTER (WHERE c.status = 'pending' AND requeued_since IS NOT NULL))[1] AS requeue_reason,
               coalesce(bool_or(b.cap_usd IS NOT NULL AND c.status = 'pending' AND c.mode IN ('batch', 'on-demand')
                   AND (b.committed_usd - bedrock_pipeline.taken_usd(c) + c.estimated_cost_usd <= b.cap_usd) IS NOT TRUE),
                   false) AS over_budget
        FROM bedrock_pipeline.chunks c
        LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
        LEFT JOIN bedrock_pipeline.quota_groups g ON g.quota_group = c.quota_group
            AND g.backoff_until > bedrock_pipeline.now() AND c.status = 'pending' AND c.mode = 'batch'
        CROSS JOIN LATERAL (SELECT c.collected_at IS NULL AND c.status = 'failed' AND c.job_arn IS NULL OR o.waits_for = 'operator' AS for_operator,
                                   c.status = 'pending' AND c.mode = 'waiting' OR o.waits_for = 'minimum' AS too_few) h
        CROSS JOIN LATERAL (SELECT CASE WHEN c.status = 'pending' THEN c.estimated_cost_usd ELSE bedrock_pipeline.taken_usd(c) END AS usd) w
        WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)) n
    LEFT JOIN LATERAL (
        SELECT c.* FROM bedrock_pipeline.chunks c
        WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
          AND c.status = 'pending' AND c.mode = 'batch' ORDER BY c.attempt, c.sequence LIMIT 1) c ON true
    /* slots */
    CROSS JOIN LATERAL (
        SELECT coalesce(string_agg(g.count || ' ' || g.status, ', ' ORDER BY g.status), '') AS chunks
        FROM (SELECT status, count(*) FROM bedrock_pipeline.chunks c
              WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
              GROUP BY status) g) s
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_object_agg(g.code, g.records), '{}') AS failed_by_code
        FROM (SELECT f.code, sum(f.records::bigint) AS records
              FROM (SELECT c.final_by_code AS by_code FROM bedrock_pipeline.chunks c
                    WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
                    UNION ALL SELECT d.duplicates_failed_by_code) a
              CROSS JOIN LATERAL jsonb_each_text(a.by_code) f(code, records)
              GROUP BY f.code) g) e
    ORDER BY d.created_at DESC, d.pipeline, d.dataset""".replace("/* slots */", _SLOTS)

CHUNKS: Final = """
    SELECT c.*, slots.slots, c.chunk_key AS chunk,
           (SELECT jsonb_object_agg(l.kind, jsonb_build_array(l.subject, l.failure)) FROM bedrock_pipeline.run_leases l
            WHERE l.kind IN ('submit', 'collect') AND (l.pipeline, l.subject) = (c.pipeline, c.chunk_key)
              AND starts_with(l.failure, c.dataset || ' v' || c.dataset_version || ': ')) AS failures,
           CASE WHEN greatest(c.next_attempt_at, g.backoff_until) > bedrock_pipeline.now()
                THEN greatest(c.next_attempt_at, g.backoff_until) END AS submitted_at,
           c.job_arn AS job, c.final_by_code AS failed_by_code,
           CASE WHEN c.collected_at IS NULL THEN least(coalesce(c.processed_count, 0), c.records)
                ELSE c.answered + c.final_errors END AS processed,
           (c.collected_at IS NULL AND c.status = 'failed' AND c.job_arn IS NULL OR o.waits_for = 'operator') IS TRUE AND d.cancel_requested_at IS NULL AS for_operator,
           (c.status = 'pending' AND c.mode = 'waiting' OR o.waits_for = 'minimum') IS TRUE AND d.cancel_requested_at IS NULL AS too_few,
           CASE WHEN c.collected_at IS NOT NULL THEN coalesce(o.records, 0) END AS open_records,
           CASE WHEN o.waits_for IS NULL THEN 0 ELSE o.records END AS waiting_records,
           coalesce(c.retryable, 0) - coalesce(o.records, 0) AS retried, o.wait_reason, g.backoff_until, g.backoff_reason, b.version, b.cap_usd, b.committed_usd, b.wanted_usd,
           b.cap_usd IS NOT NULL AND c.status = 'pending' AND c.mode IN ('batch', 'on-demand')
               AND (b.committed_usd - bedrock_pipeline.taken_usd(c) + c.estimated_cost_usd <= b.cap_usd) IS NOT TRUE
               AS over_budget
    FROM bedrock_pipeline.current_versions d
    JOIN bedrock_pipeline.chunks c ON (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
    LEFT JOIN bedrock_pipeline.budgets b ON (b.pipeline, b.dataset, b.version) = (d.pipeline, d.dataset, d.version)
    LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
    LEFT JOIN bedrock_pipeline.quota_groups g ON g.quota_group = c.quota_group
        AND g.backoff_until > bedrock_pipeline.now() AND c.status = 'pending' AND c.mode = 'batch'
    /* slots */
    WHERE d.pipeline = %(pipeline)s AND d.dataset = %(dataset)s
    ORDER BY c.attempt, c.sequence""".replace("/* slots */", _SLOTS)

WAITING: Final = """
    WITH waiting AS (
        SELECT c.pipeline, c.dataset, c.dataset_version AS version, c.chunk_key, c.status, c.status_message AS why
        FROM bedrock_pipeline.chunks c
        WHERE c.collected_at IS NULL AND c.pipeline = ANY(%(pipelines)s)
          AND (c.status = 'needs-resolution' OR c.status = 'failed' AND c.job_arn IS NULL)
        UNION ALL
        SELECT c.pipeline, c.dataset, c.dataset_version, c.chunk_key, c.status, o.wait_reason
        FROM bedrock_pipeline.retryable_records o JOIN bedrock_pipeline.chunks c USING (chunk_id)
        WHERE o.retried_at IS NULL AND o.waits_for = 'operator' AND c.pipeline = ANY(%(pipelines)s)),
    numbered AS (
        SELECT w.*, count(*) OVER (PARTITION BY w.pipeline) AS count,
               row_number() OVER (PARTITION BY w.pipeline ORDER BY w.chunk_key) AS number
        FROM waiting w JOIN bedrock_pipeline.current_versions d USING (pipeline, dataset)
        WHERE w.status = 'needs-resolution' OR w.version = d.version AND d.cancel_requested_at IS NULL)
    SELECT pipeline, chunk_key, why, count FROM numbered WHERE number <= %(most)s ORDER BY pipeline, number"""
