"""Long runs that survive their shell (SPEC 12): what is written down, when to look, and what to do next."""
