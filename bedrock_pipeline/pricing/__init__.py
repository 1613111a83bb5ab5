"""Pricing: prices of tokens, estimates of tokens, costs of responses. Pure functions without I/O."""
