"""Bedrock and S3, spoken through boto3.

What belongs here: clients, what a client's error means, and objects as streams. What does not: what is done
with them (that is `stages`).
"""
