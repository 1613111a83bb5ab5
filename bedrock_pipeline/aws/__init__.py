"""Bedrock and S3, spoken through boto3."""
