"""Requests into chunks within Bedrock's limits, and what Bedrock is sent for a chunk."""
