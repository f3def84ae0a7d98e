"""Captures in, explanations out."""
