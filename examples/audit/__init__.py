"""An audit trail that shows what was done to it: each entry carries a digest of all before it.

python -m examples.audit

trail     entries, their chain, notes of it that are kept elsewhere, and the verification
__main__  the run: a trail, four ways to tamper with it, and what notices each
"""
