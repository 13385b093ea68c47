"""The way in for a host that is no Python process: JSON lines over stdio, and a Node package for them."""
