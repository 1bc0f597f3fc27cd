"""Which block of a completion is its program."""

from __future__ import annotations

import pytest

from reforge.environments.template import parse
from tests.unit.environments.reading import program_in

S = "def solve(x):\n    return x\n"
PRINT = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"```python\n{S}```", S),
        (f"~~~python\n{S}~~~", S),
        (f"````python\n{S}````", S),
        (f"```python\n{S}`````", S),  # longer than it need be
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        (f"```python\n{S}~~~\n```", f"{S}~~~\n"),  # of the other kind: content
        (f"```Python3\n{S}```", S),
        (f"``` py\n{S}```", S),
        (f'```python title="a.py"\n{S}```', S),
        (f"```{{.python .numberLines}}\n{S}```", S),
        (f"   ```python\n{S}   ```", S),
        ("1. It:\n   ```python\n   def solve(x):\n       return x\n   ```\n", S),
        ("- ```python\n  def solve(x):\n      return x\n  ```", S),
        ("> ```python\n> def solve(x):\n>     return x\n> ```", S),
        (f"```python\n{S.rstrip()}```", S),  # closed on the code's line
        (f"```python\n{S}``` That is it.", S),
        (f"Here it is: ```python\n{S}```", S),
        (f"Wrap it in ```python fences.\n```\n{S}```", S),
        (f"```python\nbad\n```python\n{S}```", S),  # one that was never closed
        ("```python\ndef f():\n    '''\n    ```\n    '''\n```", "def f():\n    '''\n    ```\n    '''\n"),
        ("```python\nprint(1)```\nand\n```python\nprint(2)```", "print(2)\n"),
        ("```py\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        (f"```python\n{S}```\nIt prints:\n```\n5\n```", S),
        (f"```\n{S}```\nIt prints:\n```\n5 4\n```\nor\n```\n[1, 2]\n```", S),
        (f"```python\n{S}```\n```bash\npython solution.py\n```", S),
        (f"```python\n{S}```\n```text\nprint(1)\n```\n```output\n5\n```", S),
        ("```\nx = 1\n```", "x = 1\n"),  # nothing better is there
        ("```java\nint x;\n```", None),
        (f"<answer>\n```python\n{S}```\n</answer>", S),
        (f"```python\n{S}", None),
    ],
)
def test_the_last_closed_block_of_python(text: str, program: str | None) -> None:
    assert program_in(text) == program


@pytest.mark.parametrize(
    ("program", "entry"),
    [
        (S, "solve"),
        ("class Solution:\n    def solve(self, x): return x\n", "solve"),
        ("class A:\n    def b(self, x): return x\n", "A.b"),
        ("class LRU:\n    pass\n", "LRU"),
        ("solve = lambda x: x\n", "solve"),
        ("def solve(x:\n    return x\n", "solve"),  # an error in it changes nothing
    ],
)
def test_with_an_entry_point_the_last_block_that_defines_it(program: str, entry: str) -> None:
    blocks = ["def solve(x): pass\n", program, "print(solve(3))\n"]
    text = "\nBetter:\n".join(f"```python\n{block}```" for block in blocks)
    assert program_in(text, entry) == program
    assert program_in(text, "other") == program_in(text) == "print(solve(3))\n"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a", "a"),
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),  # the template wrote the opening tag
        ("<think>a", None),
        ("a<think>b", None),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>a</think>b<think>c", "b"),
    ],
)
def test_thinking_does_not_count(text: str, answer: str | None) -> None:
    assert parse(text).answer == answer


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"<think>{PRINT}", None),
        (f"<think>{PRINT}</think>", None),
        (f"{PRINT}</think> I do not know.", None),
        (f"<think>```python\nx</think>\n{PRINT}", "print(1)\n"),  # an open fence in there swallows nothing
        (f"<think>a</think>{PRINT}<think>```python\nx\n```", "print(1)\n"),
    ],
)
def test_nothing_inside_thinking_counts(text: str, program: str | None) -> None:
    assert program_in(text) == program


@pytest.mark.parametrize(
    ("code", "fenced"),
    [
        ("-" * 30_000 + "1\n", True),
        ("(" * 30_000 + "\n", True),
        ("x" + ".y" * 15_000 + "\n", True),
        ("x" + "+1" * 15_000 + "\n", True),
        ("print(1)\0\n", True),
        ("print('\ud800')\n", True),
        ("x```\n" * 50_000, False),
        ("- " * 50_000 + "```", False),
    ],
)
def test_no_text_is_too_much(code: str, fenced: bool) -> None:
    """What cannot be parsed is still the program where it is the only block; floods of fences hold none."""
    assert program_in(f"```\n{code}```" if fenced else code) == (code if fenced else None)
