"""Bank accounts that are nothing but their events: several tellers write, balances are a fold, replay rebuilds them.

python -m examples.accounts

events     what happens to accounts, and the fold that makes balances of it (pure)
teller     child: decides on what it has read, writes, and looks whether it was first
balances   child: keeps balances in a database           replay    balances from offset 0
__main__   the run: opens, kills, waits, compares
"""
