-- The sweep counts jobs of others for the models of chunks that have not ended; without this it reads all that have.

CREATE INDEX chunks_unended ON bedrock_pipeline.chunks (quota_group, model_id) WHERE ended_at IS NULL;
