-- The ledger: datasets, chunks, jobs and slots. A row per chunk, none per record.
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
    -- The key says where: "MODEL in REGION of ACCOUNT", the account where it is known.
    region      text GENERATED ALWAYS AS (substring(quota_group FROM ' in ([a-z0-9-]+)(?: of \d{12})?$')) STORED,
    account     text GENERATED ALWAYS AS (substring(quota_group FROM ' in [a-z0-9-]+ of (\d{12})$')) STORED,
    max_jobs    integer NOT NULL CHECK (max_jobs >= 0),            -- Bedrock's default, or what an operator has set
    others      integer NOT NULL DEFAULT 0 CHECK (others >= 0),    -- jobs at once that are not ours, as last seen
    throttles    integer NOT NULL DEFAULT 0 CHECK (throttles >= 0),  -- in a row; throttling concerns all chunks alike
    backoff_until  timestamptz,
    backoff_reason text,
    next_call_at timestamptz,                                      -- of on-demand calls: all processes share one rate
    created_at  timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    CHECK ((throttles = 0) = (backoff_until IS NULL) AND (throttles = 0) = (backoff_reason IS NULL))
);

-- What a pipeline was when something of it was launched: all that decides what is sent and how responses are judged.
-- Rows never change; the text keeps the order of a schema's properties.
CREATE TABLE bedrock_pipeline.frozen_settings (
    digest         text PRIMARY KEY,
    content_digest text NOT NULL,  -- of what decides the responses; limits, prices and policies do not
    document       json NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT bedrock_pipeline.now()
);

CREATE TABLE bedrock_pipeline.datasets (
    pipeline            text NOT NULL,
    dataset             text NOT NULL CHECK (dataset ~ '^[A-Za-z0-9.-]{1,40}$' AND dataset !~ '--|^[.-]|[.-]$'),
    version             integer NOT NULL DEFAULT 1,  -- the current one, of those in `versions`
    -- A launch that no run has carried out yet. Each launch has an id, so that a run ends the one that it began with.
    launch_id           uuid,
    launch_requested_at timestamptz,
    launch_failure      text,  -- why the last launch has failed, where it left the version as it was
    -- A queue's dataset of a day: chunks are added to it, so it is published again when chunks were collected since. They
    -- are counted rather than compared by time, since what was collected earlier may be committed later.
    open                boolean NOT NULL DEFAULT false,
    collections         bigint NOT NULL DEFAULT 0,
    published_collections bigint NOT NULL DEFAULT 0,
    publication         integer NOT NULL DEFAULT 0,
    published_version   integer,
    results_uri         text,
    published_records   bigint,
    published_failed    bigint,
    published_at        timestamptz,
    latest_written_publication integer NOT NULL DEFAULT 0,  -- what latest.json in S3 names; it follows `publication`
    latest_writes         integer NOT NULL DEFAULT 0 CHECK (latest_writes >= 0),  -- writes of it that are not known to have ended
    latest_write_began_at timestamptz,             -- the last of these
    latest_check_at       timestamptz,             -- when latest.json is looked at next, while there are any
    created_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    updated_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    PRIMARY KEY (pipeline, dataset),
    CHECK ((launch_id IS NULL) = (launch_requested_at IS NULL)),
    CHECK (launch_id IS NULL OR launch_failure IS NULL),
    CHECK ((publication = 0) = (results_uri IS NULL) AND (publication = 0) = (published_at IS NULL)
           AND (publication = 0) = (published_version IS NULL) AND (publication = 0) = (published_records IS NULL)
           AND (publication = 0) = (published_failed IS NULL)),
    CHECK (latest_written_publication <= publication)
);
CREATE INDEX datasets_launch ON bedrock_pipeline.datasets (launch_requested_at) WHERE launch_requested_at IS NOT NULL;
CREATE INDEX datasets_to_publish_again ON bedrock_pipeline.datasets (pipeline, dataset)
    WHERE open AND collections > published_collections;
CREATE INDEX datasets_latest_in_doubt ON bedrock_pipeline.datasets (latest_check_at) WHERE latest_writes > 0;
CREATE INDEX datasets_latest_stale ON bedrock_pipeline.datasets (pipeline, dataset)
    WHERE latest_written_publication <> publication;

-- A version of a dataset: the result of one launch. Once its snapshot is taken, neither its settings nor its snapshot
-- change: another launch, or other code, makes another version.
CREATE TABLE bedrock_pipeline.versions (
    pipeline            text NOT NULL,
    dataset             text NOT NULL,
    version             integer NOT NULL CHECK (version >= 1),
    state               text NOT NULL DEFAULT 'requested' CHECK (state IN (
        'requested', 'snapshotted', 'packed', 'published', 'replaced', 'cancelled', 'failed')),
    state_changed_at    timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    state_reason        text,                      -- of `replaced`, `cancelled` and `failed`
    request             jsonb NOT NULL DEFAULT '{}',
    preparation_began_at timestamptz,              -- from then on another launch is another version
    launch_id           uuid,                      -- the launch that its snapshot was taken for
    settings_digest     text REFERENCES bedrock_pipeline.frozen_settings,
    -- What an operator decides later: it is not frozen.
    below_minimum       text,
    max_cost_usd        numeric CHECK (max_cost_usd > 0),
    schema_only_since   timestamptz,               -- responses are judged by the JSON schema alone
    publication_rejected text,                     -- why its table does not take the results, until an operator has acted
    cancel_requested_at timestamptz,
    snapshot_uri        text,
    snapshot_hash       text,
    snapshot_records    bigint,
    snapshot_rejected   bigint,
    packed_hash         text,
    packed_records      bigint,
    packed_rejected     bigint,
    packed_at           timestamptz,
    -- Records whose request is identical to that of another, their canonical record.
    snapshot_duplicates  bigint NOT NULL DEFAULT 0,
    packed_duplicates    bigint NOT NULL DEFAULT 0,
    duplicates_answered  bigint NOT NULL DEFAULT 0,  -- set at publication
    duplicates_failed    bigint NOT NULL DEFAULT 0,
    duplicates_failed_by_code jsonb NOT NULL DEFAULT '{}',  -- together duplicates_failed
    -- What was deleted after a time: the input and output of its jobs, or all of its files.
    pruned              text CHECK (pruned IN ('exchange', 'everything')),
    pruned_at           timestamptz,
    created_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    PRIMARY KEY (pipeline, dataset, version),
    FOREIGN KEY (pipeline, dataset) REFERENCES bedrock_pipeline.datasets ON DELETE CASCADE,
    CONSTRAINT pruned_has_a_time CHECK ((pruned IS NULL) = (pruned_at IS NULL)),
    CONSTRAINT an_end_has_a_reason CHECK ((state IN ('replaced', 'cancelled', 'failed')) = (state_reason IS NOT NULL)),
    CONSTRAINT snapshot_is_whole CHECK (
        (snapshot_uri IS NULL) = (snapshot_hash IS NULL) AND (snapshot_uri IS NULL) = (snapshot_records IS NULL)
        AND (snapshot_uri IS NULL) = (settings_digest IS NULL)),
    CONSTRAINT snapshotted_has_one CHECK (state <> 'snapshotted' OR snapshot_uri IS NOT NULL),
    CONSTRAINT packed_is_whole CHECK (
        (packed_hash IS NULL) = (packed_at IS NULL) AND (packed_hash IS NULL) = (packed_records IS NULL)),
    CONSTRAINT packed_has_chunks CHECK (state NOT IN ('packed', 'published') OR packed_hash IS NOT NULL)
);
ALTER TABLE bedrock_pipeline.datasets ADD FOREIGN KEY (pipeline, dataset, version)
    REFERENCES bedrock_pipeline.versions DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX versions_to_publish ON bedrock_pipeline.versions (pipeline, dataset) WHERE state = 'packed';
CREATE INDEX versions_capped ON bedrock_pipeline.versions (pipeline, dataset, version) WHERE max_cost_usd IS NOT NULL;

CREATE FUNCTION bedrock_pipeline.version_is_frozen() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF OLD.settings_digest IS NOT NULL AND (NEW.settings_digest, NEW.snapshot_uri, NEW.snapshot_hash)
            IS DISTINCT FROM (OLD.settings_digest, OLD.snapshot_uri, OLD.snapshot_hash)
       OR OLD.state IN ('replaced', 'cancelled') AND NEW.state <> OLD.state THEN
        RAISE EXCEPTION 'version % of dataset % of % is frozen', OLD.version, OLD.dataset, OLD.pipeline
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER version_frozen BEFORE UPDATE ON bedrock_pipeline.versions
    FOR EACH ROW EXECUTE FUNCTION bedrock_pipeline.version_is_frozen();

-- Pipelines that a running code location or program has. One that was renamed or removed is missing, or was seen long ago.
CREATE TABLE bedrock_pipeline.served_pipelines (
    pipeline text PRIMARY KEY,
    seen_at  timestamptz NOT NULL DEFAULT bedrock_pipeline.now()
);

-- Each dataset with its current version.
CREATE VIEW bedrock_pipeline.current_versions AS
SELECT d.pipeline, d.dataset, d.version, d.launch_id, d.launch_requested_at, d.launch_failure, d.open, d.collections, d.published_collections,
       d.publication, d.published_version, d.results_uri, d.published_records, d.published_failed, d.published_at,
       d.latest_written_publication, d.latest_writes, d.latest_check_at, d.created_at,
       v.state, v.state_reason, v.request, v.preparation_began_at, v.launch_id AS snapshot_launch_id, v.settings_digest, v.below_minimum,
       v.max_cost_usd, v.schema_only_since, v.publication_rejected, v.cancel_requested_at, v.snapshot_uri, v.snapshot_hash, v.snapshot_records,
       v.snapshot_rejected, v.packed_hash, v.packed_records, v.packed_rejected, v.packed_at, v.snapshot_duplicates,
       v.packed_duplicates, v.duplicates_answered, v.duplicates_failed, v.duplicates_failed_by_code
FROM bedrock_pipeline.datasets d JOIN bedrock_pipeline.versions v USING (pipeline, dataset, version);

CREATE TABLE bedrock_pipeline.chunks (
    chunk_id            uuid PRIMARY KEY,
    pipeline            text NOT NULL,
    dataset             text NOT NULL,
    dataset_version     integer NOT NULL,
    attempt               integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    sequence            integer NOT NULL CHECK (sequence >= 0),
    chunk_key           text NOT NULL,
    records             bigint NOT NULL CHECK (records > 0),
    bytes               bigint NOT NULL CHECK (bytes > 0),
    files               jsonb NOT NULL,
    content_hash        text NOT NULL,
    index_uri           text NOT NULL,
    model_id            text NOT NULL,
    quota_group         text NOT NULL REFERENCES bedrock_pipeline.quota_groups,
    max_jobs            integer CHECK (max_jobs >= 1),   -- of its pipeline in this group at once; null: no limit of its own
    request             jsonb NOT NULL,
    settings_digest     text NOT NULL REFERENCES bedrock_pipeline.frozen_settings,  -- by which its responses are judged
    -- batch: a job. on-demand: call by call, without job and slot. waiting: not until an operator decides.
    -- none: not at all, its records end as final errors.
    mode                text NOT NULL DEFAULT 'batch' CHECK (mode IN ('batch', 'on-demand', 'waiting', 'none')),
    created_at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),

    status              text NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'submitting', 'in-doubt', 'needs-resolution',
        'queued', 'validating', 'scheduled', 'in-process', 'stopping',
        'partially-completed', 'completed', 'expired', 'stopped', 'failed')),
    status_changed_at   timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    status_message      text,
    cancel_requested_at timestamptz,

    fence               bigint NOT NULL DEFAULT 0,
    intent_id           uuid,
    lease_expires_at    timestamptz,
    token               text UNIQUE CHECK (token ~ '^[a-zA-Z0-9]+$' AND length(token) <= 256),
    frozen_request      jsonb,
    submissions            integer NOT NULL DEFAULT 0,
    next_attempt_at     timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    requeued_since      timestamptz,
    requeue_reason     text,

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
    final_by_code       jsonb NOT NULL DEFAULT '{}',   -- final errors by their code
    retryable           bigint,
    input_tokens        bigint,
    output_tokens       bigint,
    problem             text,

    guessed_input_tokens    bigint CHECK (guessed_input_tokens >= 0),     -- from the text alone
    guessed_output_tokens   bigint CHECK (guessed_output_tokens >= 0),
    estimated_input_tokens  bigint CHECK (estimated_input_tokens >= 0),   -- corrected by what was measured
    estimated_output_tokens bigint CHECK (estimated_output_tokens >= 0),
    estimated_cost_usd      numeric CHECK (estimated_cost_usd >= 0),      -- null: the price is unknown
    cost_usd                numeric CHECK (cost_usd >= 0),
    on_demand_cost_usd      numeric CHECK (on_demand_cost_usd >= 0),

    UNIQUE (pipeline, chunk_key),
    UNIQUE (pipeline, dataset, dataset_version, attempt, sequence),
    FOREIGN KEY (pipeline, dataset, dataset_version) REFERENCES bedrock_pipeline.versions,

    CONSTRAINT intent_is_whole CHECK (
        status NOT IN ('submitting', 'in-doubt', 'needs-resolution')
        OR (intent_id IS NOT NULL AND lease_expires_at IS NOT NULL AND token IS NOT NULL AND frozen_request IS NOT NULL AND job_arn IS NULL)),
    CONSTRAINT pending_has_no_job CHECK (
        status <> 'pending' OR (job_arn IS NULL AND token IS NULL AND frozen_request IS NULL AND intent_id IS NULL AND ended_at IS NULL)),
    CONSTRAINT accepted_has_a_job CHECK (
        status NOT IN ('queued', 'validating', 'scheduled', 'in-process', 'stopping', 'partially-completed', 'completed', 'expired')
        OR (job_arn IS NOT NULL AND submitted_at IS NOT NULL)
        OR (mode = 'on-demand' AND status = 'completed')),
    CONSTRAINT only_a_batch_has_a_job CHECK (mode = 'batch' OR (job_arn IS NULL AND token IS NULL)),
    CONSTRAINT waiting_is_pending CHECK (mode <> 'waiting' OR status IN ('pending', 'stopped')),
    CONSTRAINT none_is_not_sent CHECK (mode <> 'none' OR status = 'stopped'),
    CONSTRAINT job_was_submitted CHECK ((job_arn IS NULL) = (submitted_at IS NULL)),
    CONSTRAINT ended_is_terminal CHECK (
        (ended_at IS NOT NULL) = (status IN ('partially-completed', 'completed', 'expired', 'stopped', 'failed'))),
    CONSTRAINT collected_after_end CHECK (collected_at IS NULL OR ended_at IS NOT NULL),
    CONSTRAINT collected_is_whole CHECK (
        collected_at IS NULL
        OR (answered IS NOT NULL AND final_errors IS NOT NULL AND retryable IS NOT NULL
            AND answered + final_errors + retryable = records)),
    CONSTRAINT cost_is_collected CHECK (collected_at IS NOT NULL OR (cost_usd IS NULL AND on_demand_cost_usd IS NULL)),
    CONSTRAINT requeue_has_a_reason CHECK ((requeued_since IS NULL) = (requeue_reason IS NULL))
);
-- Every query of a sensor finds its rows through one of these; none scans what is finished.
CREATE INDEX chunks_due ON bedrock_pipeline.chunks (quota_group, next_attempt_at) WHERE status = 'pending';
CREATE INDEX chunks_in_flight ON bedrock_pipeline.chunks (quota_group, submitted_at)
    WHERE status <> 'pending' AND ended_at IS NULL;  -- exactly the chunks that hold a slot
CREATE INDEX chunks_on_demand ON bedrock_pipeline.chunks (next_attempt_at) WHERE mode = 'on-demand' AND status = 'pending';
CREATE INDEX chunks_unended ON bedrock_pipeline.chunks (quota_group, model_id) WHERE ended_at IS NULL;
CREATE INDEX chunks_measured ON bedrock_pipeline.chunks (pipeline, model_id, collected_at)
    WHERE collected_at IS NOT NULL AND guessed_input_tokens IS NOT NULL;
CREATE INDEX chunks_to_collect ON bedrock_pipeline.chunks (ended_at) WHERE ended_at IS NOT NULL AND collected_at IS NULL;
CREATE INDEX chunks_uncollected ON bedrock_pipeline.chunks (pipeline, dataset) WHERE collected_at IS NULL;

-- Regions whose jobs could not be listed at the last poll.
CREATE TABLE bedrock_pipeline.unreachable_regions (
    region text PRIMARY KEY,
    since  timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    error  text NOT NULL
);

-- Jobs at Bedrock that carry this deployment's name and belong to no chunk.
CREATE TABLE bedrock_pipeline.orphans (
    job_arn      text PRIMARY KEY,
    job_name     text NOT NULL,
    status       text NOT NULL,
    submitted_at timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL DEFAULT bedrock_pipeline.now()
);

-- Runs that the sensors have requested, and what runs work on. A run lease is valid until it expires; the run renews it
-- while it works.
CREATE TABLE bedrock_pipeline.run_leases (
    kind       text NOT NULL,
    pipeline   text NOT NULL,
    subject    text NOT NULL,
    lease_id   uuid NOT NULL,
    acquired_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- acquired: until it expires; then the run died. ended: its run has finished. failed: it raised, and a run of its own is
    -- to show that. shown: it raised in such a run, or enough others have shown the same failure.
    state      text NOT NULL DEFAULT 'acquired' CHECK (state IN ('acquired', 'ended', 'failed', 'shown')),
    failure    text,  -- what it raised last, without what differs from one chunk to the next; null once it has succeeded
    PRIMARY KEY (kind, pipeline, subject),
    CONSTRAINT a_failure_says_what CHECK (state NOT IN ('failed', 'shown') OR failure IS NOT NULL)
);
CREATE INDEX run_leases_unfinished ON bedrock_pipeline.run_leases (expires_at) WHERE state IN ('acquired', 'failed');
CREATE INDEX run_leases_failures ON bedrock_pipeline.run_leases (kind, pipeline, failure) WHERE failure IS NOT NULL;

-- The lives of this ledger. Another one begins when it was restored from a backup, so that what was read before is not
-- compared with what comes now: transactions and events count from an earlier number again, or on another server's.
CREATE TABLE bedrock_pipeline.incarnations (
    number      integer PRIMARY KEY CHECK (number >= 1),
    incarnation uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    identity    text NOT NULL,                   -- of the database in which it began
    -- The restore was noticed after something was written, so readers of earlier incarnations start over.
    starts_over boolean NOT NULL DEFAULT false,
    began_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    swept_at    timestamptz                      -- the jobs of the account were first compared with it
);

-- Server, timeline and database: another one holds a copy of this ledger. A managed server may hide the first two.
CREATE FUNCTION bedrock_pipeline.database_identity() RETURNS text LANGUAGE plpgsql STABLE AS
$$
DECLARE
    server text := '';
BEGIN
    BEGIN
        server := (SELECT s.system_identifier || '/' || c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c);
    EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
        server := 'hidden';
    END;
    RETURN server || '/' || (SELECT oid FROM pg_database WHERE datname = current_database());
END
$$;

-- The number of this database's incarnation; a ledger that finds itself in another database begins the next.
CREATE FUNCTION bedrock_pipeline.current_incarnation() RETURNS integer LANGUAGE plpgsql AS
$$
DECLARE
    here text := bedrock_pipeline.database_identity();
    last record;
BEGIN
    SELECT number, identity INTO last FROM bedrock_pipeline.incarnations ORDER BY number DESC LIMIT 1;
    IF last.identity = here THEN
        RETURN last.number;
    END IF;
    PERFORM FROM bedrock_pipeline.deployment FOR UPDATE;  -- one at a time
    SELECT number, identity INTO last FROM bedrock_pipeline.incarnations ORDER BY number DESC LIMIT 1;
    IF last.identity = here THEN
        RETURN last.number;
    END IF;
    INSERT INTO bedrock_pipeline.incarnations (number, identity) VALUES (coalesce(last.number, 0) + 1, here);
    RETURN coalesce(last.number, 0) + 1;
END
$$;

CREATE TABLE bedrock_pipeline.events (
    event_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incarnation integer NOT NULL DEFAULT bedrock_pipeline.current_incarnation(),
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at          timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    pipeline    text NOT NULL,
    dataset     text NOT NULL,
    chunk_id    uuid NOT NULL,
    status      text NOT NULL,
    previous    text,
    fence       bigint NOT NULL,
    job_arn     text,
    message     text
);
CREATE INDEX events_in_commit_order ON bedrock_pipeline.events (incarnation, transaction, event_id);
-- A reader of one queue's events reads no others.
CREATE INDEX events_of_pipeline ON bedrock_pipeline.events (pipeline, incarnation, transaction, event_id);
CREATE INDEX events_of_chunk ON bedrock_pipeline.events (chunk_id, event_id);

CREATE FUNCTION bedrock_pipeline.chunk_changed() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    INSERT INTO bedrock_pipeline.events (pipeline, dataset, chunk_id, status, previous, fence, job_arn, message)
    VALUES (NEW.pipeline, NEW.dataset, NEW.chunk_id, NEW.status,
            CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.fence, NEW.job_arn,
            coalesce(NEW.requeue_reason, NEW.status_message));
    PERFORM pg_notify('bedrock_pipeline', NEW.chunk_id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER chunk_status_changed AFTER UPDATE ON bedrock_pipeline.chunks
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION bedrock_pipeline.chunk_changed();

-- Whether a process sends a chunk's records call by call at this moment; it ends the chunk itself, with its responses.
CREATE FUNCTION bedrock_pipeline.being_called(c bedrock_pipeline.chunks) RETURNS boolean LANGUAGE sql STABLE AS
$$
    SELECT c.mode = 'on-demand' AND c.status = 'pending' AND coalesce(c.lease_expires_at > bedrock_pipeline.now(), false)
$$;

-- Whether nothing more is bought for a chunk: it was cancelled, or its version is not the dataset's current one. Who asks
-- has locked the chunk or its dataset, since a version that starts locks both.
CREATE FUNCTION bedrock_pipeline.withdrawn(c bedrock_pipeline.chunks) RETURNS boolean LANGUAGE sql STABLE AS
$$
    SELECT c.cancel_requested_at IS NOT NULL OR NOT EXISTS (
        SELECT FROM bedrock_pipeline.datasets d
        WHERE (d.pipeline, d.dataset, d.version) = (c.pipeline, c.dataset, c.dataset_version))
$$;

-- A chunk that has ended does not change, and a job once accepted stays that chunk's job. A chunk that is withdrawn is not
-- submitted for the first time: the last safeguard, behind the statements that end such chunks.
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
    IF OLD.status = 'pending' AND NEW.status = 'submitting' AND bedrock_pipeline.withdrawn(NEW) THEN
        RAISE EXCEPTION 'chunk % was cancelled or replaced', OLD.chunk_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF OLD.collected_at IS NOT NULL AND NEW IS DISTINCT FROM OLD THEN
        RAISE EXCEPTION 'chunk % was collected', OLD.chunk_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER chunk_history BEFORE UPDATE ON bedrock_pipeline.chunks
    FOR EACH ROW EXECUTE FUNCTION bedrock_pipeline.chunk_is_history();

-- Retryable records of a collected chunk: open until they were packed into a retry round.
CREATE TABLE bedrock_pipeline.retryable_records (
    chunk_id    uuid PRIMARY KEY REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    records     bigint NOT NULL CHECK (records > 0),
    waits_for    text CHECK (waits_for IN ('operator', 'minimum')),
    wait_reason text,
    retried_at   timestamptz,
    cancel_requested_at timestamptz,  -- they end as final errors in the next retry round; their chunk is collected, and does not change
    CONSTRAINT waiting_has_a_reason CHECK ((waits_for IS NULL) = (wait_reason IS NULL)),
    CONSTRAINT retried_does_not_wait CHECK (retried_at IS NULL OR waits_for IS NULL)
);
CREATE INDEX retryable_open ON bedrock_pipeline.retryable_records (chunk_id) WHERE retried_at IS NULL;

-- The chunks of attempt 1 whose records a later chunk holds.
CREATE TABLE bedrock_pipeline.chunk_origins (
    chunk_id  uuid NOT NULL REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    origin_id uuid NOT NULL REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    PRIMARY KEY (chunk_id, origin_id)
);
CREATE INDEX chunk_origins_by_origin ON bedrock_pipeline.chunk_origins (origin_id, chunk_id);

-- On-demand calls: a row before a call is sent, its response (a line as in a job's output) afterwards.
CREATE TABLE bedrock_pipeline.on_demand_calls (
    chunk_id    uuid NOT NULL REFERENCES bedrock_pipeline.chunks ON DELETE CASCADE,
    position    integer NOT NULL CHECK (position >= 0),          -- of the record in the chunk's index
    wave        uuid NOT NULL,                                   -- identifies calls that were sent together
    times       integer NOT NULL DEFAULT 1 CHECK (times >= 1),   -- above 1: in flight when a process died
    sent_at     timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    answered_at timestamptz,
    answer      bytea,                                           -- dropped once the chunk is collected
    PRIMARY KEY (chunk_id, position),
    CONSTRAINT a_response_has_a_time CHECK (answer IS NULL OR answered_at IS NOT NULL)
);

-- An operator allowed a version of a dataset to cost more (or less); the last approval counts.
CREATE TABLE bedrock_pipeline.approvals (
    approval_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text NOT NULL,
    dataset     text NOT NULL,
    version     integer NOT NULL,
    up_to_usd   numeric NOT NULL CHECK (up_to_usd > 0),
    approved_by text NOT NULL CHECK (approved_by <> ''),
    approved_at timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    FOREIGN KEY (pipeline, dataset, version) REFERENCES bedrock_pipeline.versions
);
CREATE INDEX approvals_of_dataset ON bedrock_pipeline.approvals (pipeline, dataset, version, approval_id);

-- What a chunk takes of its dataset's budget now. From its first intent on this is its estimate, also while it is
-- requeued, until its results show the cost, or until it ends without having been sent. Null: unknown.
CREATE FUNCTION bedrock_pipeline.taken_usd(c bedrock_pipeline.chunks) RETURNS numeric LANGUAGE sql STABLE AS
$$
    SELECT CASE
        WHEN c.ended_at IS NOT NULL AND c.job_arn IS NULL AND coalesce(c.processed_count, 0) = 0 THEN 0
        WHEN c.collected_at IS NOT NULL THEN coalesce(c.cost_usd, c.estimated_cost_usd)
        WHEN c.status = 'pending' AND c.fence = 0 THEN 0
        ELSE c.estimated_cost_usd
    END
$$;

-- The datasets with a cap: what their current version has spent or has in flight (`committed_usd`), and the sum with
-- everything that waits (`wanted_usd`). Null: unknown.
CREATE VIEW bedrock_pipeline.budgets AS
SELECT d.pipeline, d.dataset, d.version, coalesce(approved.up_to_usd, d.max_cost_usd) AS cap_usd,
       spent.committed_usd, spent.wanted_usd
FROM bedrock_pipeline.current_versions d
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

-- Of a transaction whose effect nobody could recognize, a row: it is here exactly if the transaction was committed.
CREATE TABLE bedrock_pipeline.commits (
    commit_id    uuid PRIMARY KEY,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The queue: tasks wait here as rows until a flush packs them into a chunk; then they are deleted, since the chunk
-- holds them. There is no row with their count: a counter that every enqueue updates is a lock that all of them wait
-- for, and its dead versions make it slower the longer a transaction elsewhere lasts.

CREATE TABLE bedrock_pipeline.queues (
    queue      text PRIMARY KEY CHECK (queue ~ '^[a-z][a-z0-9_]{0,39}$'),  -- also the name of its pipeline
    job_type   text NOT NULL,
    model_id   text NOT NULL,
    settings   jsonb NOT NULL,                                            -- of BedrockQueueConfig; holds no secret
    created_at timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    updated_at timestamptz NOT NULL DEFAULT bedrock_pipeline.now()
);

CREATE TABLE bedrock_pipeline.tasks (
    task_id     bigint GENERATED BY DEFAULT AS IDENTITY,
    queue       text NOT NULL,  -- no foreign key: it would lock the queue's row at every enqueue
    record_id   text NOT NULL,
    line        bytea NOT NULL,                                           -- as it goes into the job's input
    bytes       integer NOT NULL GENERATED ALWAYS AS (octet_length(line)) STORED,
    enqueued_at timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    -- The order of the queue; with it a flush's threshold is tested without reading the tasks.
    CONSTRAINT tasks_in_order PRIMARY KEY (queue, task_id) INCLUDE (bytes, enqueued_at),
    CONSTRAINT tasks_waiting_once UNIQUE (queue, record_id)
);
-- Lines are not compressed: they are deleted within the hour.
ALTER TABLE bedrock_pipeline.tasks ALTER COLUMN line SET STORAGE EXTERNAL;
-- A queue is emptied again and again: vacuum often, so that space is reused.
ALTER TABLE bedrock_pipeline.tasks SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

-- One process flushes a queue at a time. A lease of a minute that it renews, since a pooler keeps no session's locks.
CREATE TABLE bedrock_pipeline.flush_leases (
    queue      text PRIMARY KEY,
    holder     uuid NOT NULL,
    expires_at timestamptz NOT NULL
);

-- The jobs that flushes made, and their result for the program that enqueued the tasks.
CREATE TABLE bedrock_pipeline.queue_jobs (
    chunk_id  uuid PRIMARY KEY REFERENCES bedrock_pipeline.chunks,
    queue     text NOT NULL REFERENCES bedrock_pipeline.queues,
    made_at   timestamptz NOT NULL DEFAULT bedrock_pipeline.now(),
    cancel_requested_at timestamptz,  -- of all attempts; its chunk may be collected, and share later ones with other jobs
    -- Over all attempts, once every record is final.
    final_at      timestamptz,
    answered      bigint,
    failed        bigint,
    input_tokens  bigint,
    output_tokens bigint,
    CONSTRAINT final_is_counted CHECK (final_at IS NULL OR (answered IS NOT NULL AND failed IS NOT NULL))
);
CREATE INDEX queue_jobs_open ON bedrock_pipeline.queue_jobs (queue, made_at) WHERE final_at IS NULL;
CREATE INDEX queue_jobs_made ON bedrock_pipeline.queue_jobs (queue, made_at DESC);

-- Whether all records of a chunk are of jobs that are cancelled.
CREATE FUNCTION bedrock_pipeline.of_cancelled_jobs(chunk uuid) RETURNS boolean LANGUAGE sql STABLE AS
$$
    SELECT EXISTS (SELECT FROM bedrock_pipeline.queue_jobs j WHERE j.chunk_id = chunk AND j.cancel_requested_at IS NOT NULL)
        OR EXISTS (SELECT FROM bedrock_pipeline.chunk_origins o WHERE o.chunk_id = chunk) AND NOT EXISTS (
            SELECT FROM bedrock_pipeline.chunk_origins o LEFT JOIN bedrock_pipeline.queue_jobs j ON j.chunk_id = o.origin_id
            WHERE o.chunk_id = chunk AND j.cancel_requested_at IS NULL)
$$;

-- Whether some records of a chunk are of a job that is cancelled.
CREATE FUNCTION bedrock_pipeline.has_cancelled_job(chunk uuid) RETURNS boolean LANGUAGE sql STABLE AS
$$
    SELECT EXISTS (SELECT FROM bedrock_pipeline.queue_jobs j
        WHERE j.cancel_requested_at IS NOT NULL AND (j.chunk_id = chunk OR j.chunk_id IN (
            SELECT o.origin_id FROM bedrock_pipeline.chunk_origins o WHERE o.chunk_id = chunk)))
$$;

CREATE FUNCTION bedrock_pipeline.chunk_was_collected() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    UPDATE bedrock_pipeline.datasets SET collections = collections + 1
    WHERE pipeline = NEW.pipeline AND dataset = NEW.dataset AND open;
    RETURN NULL;
END
$$;
CREATE TRIGGER chunk_collected AFTER UPDATE ON bedrock_pipeline.chunks
    FOR EACH ROW WHEN (OLD.collected_at IS NULL AND NEW.collected_at IS NOT NULL)
    EXECUTE FUNCTION bedrock_pipeline.chunk_was_collected();

-- Token buckets that several processes share, after the generic cell rate algorithm: the state of a bucket is the time
-- at which it will be full again; each token moves it by the time in which one token is refilled.
CREATE TABLE bedrock_pipeline.token_buckets (
    name     text PRIMARY KEY,
    capacity integer NOT NULL CHECK (capacity >= 1),
    spacing  interval NOT NULL CHECK (spacing > interval '0'),
    full_at  timestamptz NOT NULL
);
