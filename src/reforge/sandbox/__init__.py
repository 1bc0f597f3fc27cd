"""Programs in, verdicts out (`reforge.sandbox.judge.Judge`). What a program prints, returns or does can make it fail;
it can pass only by the right answers, because the expected ones are compared in another process: docs/sandbox.md.
"""
