-- What is left unanswered: rounds, what is below the minimum, on-demand calls; and requests that are not sent twice.

-- How a chunk is asked. batch: a job. on-demand: call by call, without job and slot. held: not until a person decides.
-- none: not at all, its records end as final errors.
ALTER TABLE bedrock_pipeline.chunks
    ADD COLUMN mode text NOT NULL DEFAULT 'batch' CHECK (mode IN ('batch', 'on-demand', 'held', 'none')),
    DROP CONSTRAINT accepted_has_a_job,
    ADD CONSTRAINT accepted_has_a_job CHECK (
        status NOT IN ('queued', 'validating', 'scheduled', 'in-process', 'stopping', 'partially-completed', 'completed', 'expired')
        OR (job_arn IS NOT NULL AND submitted_at IS NOT NULL)
        OR (mode = 'on-demand' AND status = 'completed')),
    ADD CONSTRAINT only_a_batch_has_a_job CHECK (mode = 'batch' OR (job_arn IS NULL AND token IS NULL)),
    ADD CONSTRAINT held_waits CHECK (mode <> 'held' OR status IN ('pending', 'stopped')),
    ADD CONSTRAINT none_is_not_asked CHECK (mode <> 'none' OR status = 'stopped');
CREATE INDEX chunks_on_demand ON bedrock_pipeline.chunks (next_attempt_at) WHERE mode = 'on-demand' AND status = 'pending';

-- Records that a collected chunk left unanswered: open until they were rolled over into the next round.
CREATE TABLE bedrock_pipeline.leftovers (
    chunk_id    uuid PRIMARY KEY REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    records     bigint NOT NULL CHECK (records > 0),
    held_for    text CHECK (held_for IN ('person', 'minimum')),
    held_reason text,
    rolled_at   timestamptz,
    CONSTRAINT held_says_why CHECK ((held_for IS NULL) = (held_reason IS NULL)),
    CONSTRAINT rolled_is_not_held CHECK (rolled_at IS NULL OR held_for IS NULL)
);
CREATE INDEX leftovers_open ON bedrock_pipeline.leftovers (chunk_id) WHERE rolled_at IS NULL;

-- The chunks of round 1 whose records a later chunk holds.
CREATE TABLE bedrock_pipeline.chunk_origins (
    chunk_id  uuid NOT NULL REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    origin_id uuid NOT NULL REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    PRIMARY KEY (chunk_id, origin_id)
);
CREATE INDEX chunk_origins_by_origin ON bedrock_pipeline.chunk_origins (origin_id, chunk_id);

-- On-demand calls: a row before a call is sent, its answer (a line as in a job's output) afterwards.
CREATE TABLE bedrock_pipeline.on_demand_calls (
    chunk_id    uuid NOT NULL REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    position    integer NOT NULL CHECK (position >= 0),          -- of the record in the chunk's index
    wave        uuid NOT NULL,                                   -- the calls that were sent together, last
    times       integer NOT NULL DEFAULT 1 CHECK (times >= 1),   -- above 1: in flight when a process died
    sent_at     timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    answered_at timestamptz,
    answer      bytea,                                           -- dropped once the chunk is collected
    PRIMARY KEY (chunk_id, position),
    CONSTRAINT an_answer_has_a_time CHECK (answer IS NULL OR answered_at IS NOT NULL)
);
-- The next on-demand call of a quota group may be sent then: all processes share one rate.
ALTER TABLE bedrock_pipeline.quota_groups ADD COLUMN next_call_at timestamptz;

-- Followers: records whose request another record (their leader) asks already.
ALTER TABLE bedrock_pipeline.datasets
    ADD COLUMN snapshot_followers bigint NOT NULL DEFAULT 0,
    ADD COLUMN packed_followers   bigint NOT NULL DEFAULT 0,
    ADD COLUMN followers_answered bigint NOT NULL DEFAULT 0,   -- set at publication
    ADD COLUMN followers_failed   bigint NOT NULL DEFAULT 0;
