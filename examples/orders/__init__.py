"""A shop's order events, read by inventory, notification and analytics: three groups, each with everything.

python -m examples.orders

events     what happens to an order, as the shop tells it      service    child: one of the three, over its database
__main__   the run: places orders, kills, waits, compares
"""
