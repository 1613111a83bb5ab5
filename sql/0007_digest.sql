-- A file's digest is BLAKE3 now, and no longer called after SHA-256.

UPDATE bedrock_pipeline.chunks
SET files = (
    SELECT jsonb_agg((file - 'sha256') || jsonb_build_object('digest', file -> 'sha256') ORDER BY number)
    FROM jsonb_array_elements(files) WITH ORDINALITY AS each (file, number)
)
WHERE files -> 0 ? 'sha256';
