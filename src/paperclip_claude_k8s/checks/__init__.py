"""What an operator wants to know before the first run: would one start here, and what would not work?

Observing waits and does not judge (`observe`, `probe`); judging is pure (`judging`, `rehearsal`).
"""
