"""A work queue with several processes: each job is answered once, whichever process is killed.

python -m examples.jobs

worker    child of the owner: gets a job, gives an answer, knows of no log
owner     child: has both logs, gives each free worker the next job, keeps the answer
__main__  the run: kills a worker, then the owner, and compares
"""
