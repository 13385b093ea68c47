"""Serves a host that is not a Python process: JSON lines over stdio, and an npm package."""
