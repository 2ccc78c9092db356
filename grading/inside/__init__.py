"""What runs in the container of a copy.

Three kinds of processes, which share nothing but sockets and pipes:

- process 1 (``__main__``): root without capabilities but to switch users and to
  end processes. It holds the checks and the outcomes, and alone writes the result.
- the nursery (``nursery``): forked from process 1 before that has read any check.
  It has the lab's packages imported and forks itself for each process that runs
  the student's code, so that none waits for imports.
- the student's processes: uid 1000, forked by the nursery: the notebook
  (``worker``), servers, and what reads the student's files.
"""
