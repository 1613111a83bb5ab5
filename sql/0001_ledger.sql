-- The ledger: what we know about datasets, chunks, jobs and slots. A row per chunk, none per record.
-- Statuses after acceptance are Bedrock's own in the spelling of the original library; the four before it are ours.

CREATE TABLE bedrock_pipeline.deployment (
    singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    deployment_id uuid NOT NULL DEFAULT gen_random_uuid(),
    clock_offset  interval NOT NULL DEFAULT '0',
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO bedrock_pipeline.deployment DEFAULT VALUES;

-- All time is the database's. Only tests move the offset.
CREATE FUNCTION bedrock_pipeline.now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT clock_timestamp() + (SELECT clock_offset FROM bedrock_pipeline.deployment) $$;

CREATE TABLE bedrock_pipeline.quota_groups (
    quota_group text PRIMARY KEY,
    max_jobs    integer NOT NULL CHECK (max_jobs >= 0),
    others      integer NOT NULL DEFAULT 0 CHECK (others >= 0),    -- jobs at once that are not ours, as last seen
    refusals    integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),  -- in a row; throttling concerns all chunks alike
    hold_until  timestamptz,
    hold_reason text,
    created_at  timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    CHECK ((refusals = 0) = (hold_until IS NULL) AND (refusals = 0) = (hold_reason IS NULL))
);

CREATE TABLE bedrock_pipeline.datasets (
    pipeline            text NOT NULL,
    dataset             text NOT NULL CHECK (dataset ~ '^[A-Za-z0-9.-]{1,40}$' AND dataset !~ '--'),
    version             integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    request             jsonb NOT NULL DEFAULT '{}',
    launch_requested_at timestamptz,
    snapshot_uri        text,
    snapshot_hash       text,
    snapshot_records    bigint,
    snapshot_rejected   bigint,
    packed_hash         text,
    packed_records      bigint,
    packed_rejected     bigint,
    packed_at           timestamptz,
    cancel_requested_at timestamptz,
    publication         integer NOT NULL DEFAULT 0,
    published_version   integer,
    results_uri         text,
    published_records   bigint,
    published_at        timestamptz,
    created_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    updated_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    PRIMARY KEY (pipeline, dataset),
    CHECK ((snapshot_uri IS NULL) = (snapshot_hash IS NULL) AND (snapshot_uri IS NULL) = (snapshot_records IS NULL)),
    CHECK ((packed_hash IS NULL) = (packed_at IS NULL) AND (packed_hash IS NULL) = (packed_records IS NULL)),
    CHECK ((publication = 0) = (results_uri IS NULL) AND (publication = 0) = (published_at IS NULL)
           AND (publication = 0) = (published_version IS NULL))
);
CREATE INDEX datasets_launch ON bedrock_pipeline.datasets (launch_requested_at) WHERE launch_requested_at IS NOT NULL;

CREATE TABLE bedrock_pipeline.chunks (
    chunk_id            uuid PRIMARY KEY,
    pipeline            text NOT NULL,
    dataset             text NOT NULL,
    dataset_version     integer NOT NULL,
    round               integer NOT NULL DEFAULT 1 CHECK (round >= 1),
    sequence            integer NOT NULL CHECK (sequence >= 0),
    chunk_key           text NOT NULL,
    records             bigint NOT NULL CHECK (records > 0),
    bytes               bigint NOT NULL CHECK (bytes > 0),
    files               jsonb NOT NULL,
    content_hash        text NOT NULL,
    index_uri           text NOT NULL,
    model_id            text NOT NULL,
    quota_group         text NOT NULL REFERENCES bedrock_pipeline.quota_groups,
    request             jsonb NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),

    status              text NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'submitting', 'unclear', 'blocked',
        'queued', 'validating', 'scheduled', 'in-process', 'stopping',
        'partially-completed', 'completed', 'expired', 'stopped', 'failed')),
    status_changed_at   timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    status_message      text,
    cancel_requested_at timestamptz,

    epoch               bigint NOT NULL DEFAULT 0,
    intent_id           uuid,
    lease_expires_at    timestamptz,
    token               text UNIQUE CHECK (token ~ '^[a-zA-Z0-9]+$' AND length(token) <= 256),
    frozen_request      jsonb,
    attempts            integer NOT NULL DEFAULT 0,
    next_attempt_at     timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    put_back_since      timestamptz,
    put_back_reason     text,

    job_arn             text UNIQUE,
    submitted_at        timestamptz,
    ended_at            timestamptz,
    total_count         bigint,
    processed_count     bigint,
    success_count       bigint,
    error_count         bigint,

    collected_at        timestamptz,
    parsed_uri          text,
    answered            bigint,
    final_errors        bigint,
    leftovers           bigint,
    input_tokens        bigint,
    output_tokens       bigint,
    problem             text,

    UNIQUE (pipeline, chunk_key),
    UNIQUE (pipeline, dataset, dataset_version, round, sequence),
    FOREIGN KEY (pipeline, dataset) REFERENCES bedrock_pipeline.datasets,

    CONSTRAINT intent_is_whole CHECK (
        status NOT IN ('submitting', 'unclear', 'blocked')
        OR (intent_id IS NOT NULL AND lease_expires_at IS NOT NULL AND token IS NOT NULL AND frozen_request IS NOT NULL AND job_arn IS NULL)),
    CONSTRAINT pending_has_no_job CHECK (
        status <> 'pending' OR (job_arn IS NULL AND token IS NULL AND frozen_request IS NULL AND intent_id IS NULL AND ended_at IS NULL)),
    CONSTRAINT accepted_has_a_job CHECK (
        status NOT IN ('queued', 'validating', 'scheduled', 'in-process', 'stopping', 'partially-completed', 'completed', 'expired')
        OR (job_arn IS NOT NULL AND submitted_at IS NOT NULL)),
    CONSTRAINT job_was_submitted CHECK ((job_arn IS NULL) = (submitted_at IS NULL)),
    CONSTRAINT ended_is_terminal CHECK (
        (ended_at IS NOT NULL) = (status IN ('partially-completed', 'completed', 'expired', 'stopped', 'failed'))),
    CONSTRAINT collected_after_end CHECK (collected_at IS NULL OR ended_at IS NOT NULL),
    CONSTRAINT collected_is_whole CHECK (
        collected_at IS NULL
        OR (answered IS NOT NULL AND final_errors IS NOT NULL AND leftovers IS NOT NULL
            AND answered + final_errors + leftovers = records)),
    CONSTRAINT put_back_says_why CHECK ((put_back_since IS NULL) = (put_back_reason IS NULL))
);
-- Every query of a sensor finds its rows through one of these; none scans what is finished.
CREATE INDEX chunks_due ON bedrock_pipeline.chunks (quota_group, next_attempt_at) WHERE status = 'pending';
CREATE INDEX chunks_in_flight ON bedrock_pipeline.chunks (quota_group, submitted_at)
    WHERE status <> 'pending' AND ended_at IS NULL;  -- exactly the chunks that hold a slot
CREATE INDEX chunks_to_collect ON bedrock_pipeline.chunks (ended_at) WHERE ended_at IS NOT NULL AND collected_at IS NULL;
CREATE INDEX chunks_uncollected ON bedrock_pipeline.chunks (pipeline, dataset) WHERE collected_at IS NULL;
CREATE INDEX datasets_to_publish ON bedrock_pipeline.datasets (pipeline, dataset)
    WHERE packed_hash IS NOT NULL AND published_version IS DISTINCT FROM version;

-- Jobs at Bedrock that carry our names and that no chunk knows.
CREATE TABLE bedrock_pipeline.orphans (
    job_arn      text PRIMARY KEY,
    job_name     text NOT NULL,
    status       text NOT NULL,
    submitted_at timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT bedrock_pipeline.now()
);

-- What the sensors have asked Dagster for. An offer is alive until it expires; a run that works on it prolongs it.
CREATE TABLE bedrock_pipeline.offers (
    kind       text NOT NULL,
    pipeline   text NOT NULL,
    subject    text NOT NULL,
    number     bigint NOT NULL,
    offered_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (kind, pipeline, subject)
);

CREATE TABLE bedrock_pipeline.events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    pipeline    text NOT NULL,
    dataset     text NOT NULL,
    chunk_id    uuid NOT NULL,
    status      text NOT NULL,
    previous    text,
    epoch       bigint NOT NULL,
    job_arn     text,
    message     text
);
CREATE INDEX events_in_commit_order ON bedrock_pipeline.events (transaction, event_id);
CREATE INDEX events_of_chunk ON bedrock_pipeline.events (chunk_id, event_id);

CREATE FUNCTION bedrock_pipeline.chunk_changed() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    INSERT INTO bedrock_pipeline.events (pipeline, dataset, chunk_id, status, previous, epoch, job_arn, message)
    VALUES (NEW.pipeline, NEW.dataset, NEW.chunk_id, NEW.status,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.epoch, NEW.job_arn,
            coalesce(NEW.put_back_reason, NEW.status_message));
    PERFORM pg_notify('bedrock_pipeline', NEW.chunk_id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER chunk_status_changed AFTER UPDATE ON bedrock_pipeline.chunks
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION bedrock_pipeline.chunk_changed();

-- What ended stays as it ended, and a job once accepted stays that chunk's job.
CREATE FUNCTION bedrock_pipeline.chunk_is_history() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF OLD.job_arn IS NOT NULL AND (NEW.job_arn IS DISTINCT FROM OLD.job_arn OR NEW.token IS DISTINCT FROM OLD.token
                                    OR NEW.frozen_request IS DISTINCT FROM OLD.frozen_request) THEN
        RAISE EXCEPTION 'chunk % already has a job', OLD.chunk_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.ended_at IS NOT NULL AND OLD.job_arn IS NOT NULL AND (NEW.status, NEW.ended_at) IS DISTINCT FROM (OLD.status, OLD.ended_at) THEN
        RAISE EXCEPTION 'chunk % has ended', OLD.chunk_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.collected_at IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
        RAISE EXCEPTION 'chunk % was collected', OLD.chunk_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER chunk_history BEFORE UPDATE ON bedrock_pipeline.chunks
    FOR EACH ROW EXECUTE FUNCTION bedrock_pipeline.chunk_is_history();
