-- Price: what a chunk is expected to cost and did cost, and what a dataset may cost.

ALTER TABLE bedrock_pipeline.chunks
    ADD COLUMN guessed_input_tokens    bigint CHECK (guessed_input_tokens >= 0),     -- from the text alone
    ADD COLUMN guessed_output_tokens   bigint CHECK (guessed_output_tokens >= 0),
    ADD COLUMN estimated_input_tokens  bigint CHECK (estimated_input_tokens >= 0),   -- corrected by what was measured
    ADD COLUMN estimated_output_tokens bigint CHECK (estimated_output_tokens >= 0),
    ADD COLUMN estimated_cost_usd      numeric CHECK (estimated_cost_usd >= 0),      -- null: nobody knows the price
    ADD COLUMN cost_usd                numeric CHECK (cost_usd >= 0),
    ADD COLUMN on_demand_cost_usd      numeric CHECK (on_demand_cost_usd >= 0),
    ADD CONSTRAINT cost_is_collected CHECK (collected_at IS NOT NULL OR (cost_usd IS NULL AND on_demand_cost_usd IS NULL));
CREATE INDEX chunks_measured ON bedrock_pipeline.chunks (model_id, collected_at)
    WHERE collected_at IS NOT NULL AND guessed_input_tokens IS NOT NULL;

ALTER TABLE bedrock_pipeline.datasets ADD COLUMN max_cost_usd numeric CHECK (max_cost_usd > 0);
CREATE INDEX datasets_capped ON bedrock_pipeline.datasets (pipeline, dataset) WHERE max_cost_usd IS NOT NULL;

-- A person allowed a version of a dataset to cost more (or less): the last word counts.
CREATE TABLE bedrock_pipeline.approvals (
    approval_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text NOT NULL,
    dataset     text NOT NULL,
    version     integer NOT NULL,
    up_to_usd   numeric NOT NULL CHECK (up_to_usd > 0),
    approved_by text NOT NULL CHECK (approved_by <> ''),
    approved_at timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    FOREIGN KEY (pipeline, dataset) REFERENCES bedrock_pipeline.datasets
);
CREATE INDEX approvals_of_dataset ON bedrock_pipeline.approvals (pipeline, dataset, version, approval_id);

-- What a chunk takes of its dataset's budget now. From its first intent on it keeps its estimate, also while it is put
-- back, until its results tell the truth, or until it ends without having been sent. Null: nobody knows.
CREATE FUNCTION bedrock_pipeline.taken_usd(c bedrock_pipeline.chunks) RETURNS numeric LANGUAGE sql STABLE AS
$$
    SELECT CASE
        WHEN c.ended_at IS NOT NULL AND c.job_arn IS NULL AND coalesce(c.processed_count, 0) = 0 THEN 0
        WHEN c.collected_at IS NOT NULL THEN coalesce(c.cost_usd, c.estimated_cost_usd)
        WHEN c.status = 'pending' AND c.epoch = 0 THEN 0
        ELSE c.estimated_cost_usd
    END
$$;

-- The datasets that may not cost more than so much: what their current version has spent or has in flight
-- (`committed_usd`), and what it would come to with all that waits (`wanted_usd`). Null: nobody knows.
CREATE VIEW bedrock_pipeline.budgets AS
SELECT d.pipeline, d.dataset, d.version, coalesce(approved.up_to_usd, d.max_cost_usd) AS cap_usd,
       spent.committed_usd, spent.wanted_usd
FROM bedrock_pipeline.datasets d
LEFT JOIN LATERAL (
    SELECT a.up_to_usd FROM bedrock_pipeline.approvals a
    WHERE (a.pipeline, a.dataset, a.version) = (d.pipeline, d.dataset, d.version)
    ORDER BY a.approval_id DESC LIMIT 1) approved ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN count(*) = count(taken) THEN coalesce(sum(taken), 0) END AS committed_usd,
           CASE WHEN count(*) = count(wanted) THEN coalesce(sum(wanted), 0) END AS wanted_usd
    FROM (SELECT bedrock_pipeline.taken_usd(c) AS taken,
                 CASE WHEN c.status = 'pending' THEN c.estimated_cost_usd ELSE bedrock_pipeline.taken_usd(c) END AS wanted
          FROM bedrock_pipeline.chunks c
          WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)) each) spent
WHERE d.max_cost_usd IS NOT NULL;
