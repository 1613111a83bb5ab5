"""Requests packed into chunks within Bedrock's limits, and the Create request of a chunk."""
