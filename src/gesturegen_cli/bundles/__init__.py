"""Embedded models."""
