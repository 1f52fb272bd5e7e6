"""Payments that fail are tried again later, later and later still, and in the end put aside with the reasons.

python -m examples.retries

payments   what is to be charged, and a payment gateway with moods      clock     the wall's, or one that a file tells
headers    attempts, due times and reasons, in the record's headers     worker    child: charges, retries, puts aside
__main__   the run: sends, kills, waits, compares
"""
