"""Programs in, verdicts out (`reforge.sandbox.judge.Judge`). What a program prints, returns or does can make it fail;
it can pass only by the right answers, because the expected ones are compared in another process.

Each program runs in a fresh interpreter with a clean environment, limits on CPU time, memory, file size and open files,
no capabilities, and a filter on system calls: no new processes, no network, no signals or tracing beyond itself.

It is not a jail yet. A program can still:

- read every file that this user can read (tests of public data sets on the disk among them), and, unless this process
  runs as root, `/proc/<parent>/environ` and the like;
- write where this user can write, as many files of the permitted size as fit on the disk; its own folder is deleted
  afterwards, other places are not, so a later program can find what an earlier one left;
- start as many threads as its memory limit allows, and slow its neighbours down;
- exploit the kernel, or a kernel or machine where the filter cannot be installed.

A kill by the kernel's out-of-memory killer counts as the program's own end (RE): the two cannot be told apart, and a
program must not be able to buy an INFRA, which is never scored.
"""
