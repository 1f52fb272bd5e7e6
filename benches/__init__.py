"""How Ottla is measured: the same workloads on Ottla and on Apache Kafka, in one run, on one machine.

`peers` are the brokers, `meters` read what a process and the machine used, one file per workload, `report` makes the
table from the raw results and nothing else. Figures are printed, never asserted.
"""
