"""The method measured by itself (MEASURING.md, rule 17): what `nox -s selftest` runs and `docs/selftest.md` shows.

`simulated` needs numbers only; `verdicts` (identical and slowed lanes), `overhead` and `scaling` work on this machine.
Here only raw numbers are taken: what they say is computed on reading, by `tools.selftest_record`.
"""
