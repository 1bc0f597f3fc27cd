"""The code that runs inside the vLLM server: three extra routes and the weight update. vLLM loads it through its own
options (`--middleware`, `--worker-extension-cls`), so any vLLM server started with them can serve Reforge.

One route takes a whole wave of prompts. The engine is paused, the requests enter its queue in their order, and it is
resumed: so the composition of every engine step is a function of the wave alone, and with per-request seeds the same
wave gives bitwise the same tokens and log-probs, whatever the network's timing. The second swaps the weights between
two engine steps, and each token is marked with the policy version that it was drawn from. The third reports the flags.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from reforge.rollouts.flags import flags_of, wrong

WAVE, WEIGHTS, FLAGS = "/reforge/wave", "/reforge/weights", "/reforge/flags"
HEARTBEAT_SECONDS = 2.0
_NUMBERS = itertools.count()


class Routes:
    """ASGI middleware that answers three paths and passes everything else on; where a token is set, only for callers
    who send it.

    POST /reforge/wave {"requests": [{"token_ids": [...], "seed": 1, "max_tokens": 8, "temperature": 1.0, "top_p": 1.0,
    "prompt_logprobs": false}, ...]}: one JSON line per request, as each finishes; while none does, now and then an
    empty line, which says that the engine lives.
    "next_of": [ids] asks for the log-probs of these tokens at the place of the first token drawn.
    POST /reforge/weights {"folder": "...", "version": 3}: {"version": 3, "pause_seconds": 0.1}.
    GET /reforge/flags: the flags that the engine runs with. With wrong flags (flags.py) the two others are refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._version = 0
        self._running: dict[str, _Running] = {}
        self._one_pause = asyncio.Lock()
        self._token = os.environ.get("REFORGE_SAMPLER_TOKEN", "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if not self._knows(scope):
            refused = JSONResponse({"error": "a token is needed: Authorization: Bearer …"}, status_code=401)
            await refused(scope, receive, send)
            return
        path = scope.get("path", "")
        if path not in (WAVE, WEIGHTS, FLAGS):
            await self.app(scope, receive, send)
            return
        engine = scope["app"].state.engine_client
        flags = flags_of(engine.vllm_config)
        if path == FLAGS:
            await JSONResponse(flags)(scope, receive, send)
            return
        if found := wrong(flags):
            said = JSONResponse({"error": f"this vLLM runs with wrong flags: {'; '.join(found)}"}, status_code=400)
            await said(scope, receive, send)
            return
        body = await Request(scope, receive).json()
        answer = self._wave if path == WAVE else self._weights
        try:
            async with self._one_pause:
                response = await answer(engine, body)
        except Exception as error:  # the engine is dead, or the request is impossible
            status = 500 if engine.errored else 400
            response = JSONResponse({"error": f"{type(error).__name__}: {error}"}, status_code=status)
        await response(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = dict(scope.get("headers", [])).get(b"authorization", b"")
        return not self._token or hmac.compare_digest(given, f"Bearer {self._token}".encode())

    async def _wave(self, engine: Any, body: Any) -> Response:
        wave: list[str] = []
        await engine.pause_generation(mode="keep")
        try:
            for request in body["requests"]:
                wave.append(await self._enqueue(engine, request))
        except Exception:  # one of the requests is impossible: none of them is drawn
            await self._forget(engine, wave)
            raise
        finally:
            await engine.resume_generation()
        return StreamingResponse(self._finished(engine, wave), media_type="application/x-ndjson")

    async def _enqueue(self, engine: Any, request: dict[str, Any]) -> str:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        named = request.get("next_of") or []
        params = SamplingParams(
            n=1,
            seed=request["seed"],
            max_tokens=request["max_tokens"],
            temperature=request["temperature"],
            top_p=request["top_p"],
            logprobs=len(named),
            logprob_token_ids=named or None,
            prompt_logprobs=0 if request["prompt_logprobs"] else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        name = f"wave-{next(_NUMBERS)}"
        collector = await engine.add_request(name, {"prompt_token_ids": request["token_ids"]}, params)
        self._running[name] = _Running(collector, [(0, self._version)], named)
        return name

    async def _finished(self, engine: Any, wave: list[str]) -> AsyncIterator[str]:
        tasks = {asyncio.ensure_future(self._running[name].collector.get()): number for number, name in enumerate(wave)}
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    await engine.collective_rpc("alive")
                    yield "\n"
                for task in sorted(done, key=tasks.__getitem__):
                    yield json.dumps(_answer(tasks[task], task.result(), self._running.pop(wave[tasks[task]]))) + "\n"
        finally:
            for task in waiting:
                task.cancel()
            self._aborting = asyncio.ensure_future(self._forget(engine, wave))  # nobody listens any more

    async def _forget(self, engine: Any, wave: list[str]) -> None:
        """Abort those requests of the wave that are not finished."""
        left = [name for name in wave if self._running.pop(name, None)]
        if left:
            await engine.abort(left)

    async def _weights(self, engine: Any, body: Any) -> Response:
        began = time.perf_counter()
        await engine.pause_generation(mode="keep")  # clears the prefix cache, too
        try:
            drawn = (await engine.collective_rpc("update_weights_from", args=(body["folder"],)))[0]
            self._version = body["version"]
            for name, running in self._running.items():
                running.goes_on_with(self._version, _of(name, drawn))
        finally:
            await engine.resume_generation()
        return JSONResponse({"version": self._version, "pause_seconds": time.perf_counter() - began})


class _Running:
    """A running request. `policies`: (first token, version) of each policy that draws its tokens."""

    def __init__(self, collector: Any, policies: list[tuple[int, int]], named: list[int]) -> None:
        self.collector, self.policies, self.named = collector, policies, named

    def goes_on_with(self, version: int, drawn: int | None) -> None:
        """Note that `version` draws from now on. `drawn`: the tokens that the request has so far; None: it is finished,
        or has not begun."""
        if drawn is None and self.collector.output is not None:
            return
        if self.policies[-1][0] == (drawn or 0):
            self.policies.pop()
        self.policies.append((drawn or 0, version))


def _of(name: str, drawn: dict[str, int]) -> int | None:
    """Return the count in `drawn` of the request `name`, None where it has none. vLLM adds something of its own to a
    request's name."""
    return next((count for full, count in drawn.items() if full == name or full.startswith(f"{name}-")), None)


def _answer(number: int, output: Any, running: _Running) -> dict[str, Any]:
    completion = output.outputs[0]
    token_ids = list(completion.token_ids)
    ends = [first for first, _ in running.policies[1:]] + [len(token_ids)]
    answer = {
        "number": number,
        "token_ids": token_ids,
        "logprobs": [row[token].logprob for row, token in zip(completion.logprobs, token_ids, strict=True)],
        "versions": [
            version for (first, version), end in zip(running.policies, ends, strict=True) for _ in range(first, end)
        ],
        "finish_reason": completion.finish_reason,
    }
    if running.named:
        answer["next_logprobs"] = [completion.logprobs[0][token].logprob for token in running.named]
    if output.prompt_logprobs is not None:
        rows = zip(output.prompt_logprobs[1:], output.prompt_token_ids[1:], strict=True)
        answer["prompt_logprobs"] = [row[token].logprob for row, token in rows]
    return answer


class WeightUpdate:
    """The weight update, mixed into vLLM's worker and called between two of its steps."""

    def alive(self) -> bool:
        return True

    def update_weights_from(self, folder: str) -> dict[str, int]:
        """Load the weights in `folder`, and return how many tokens each running request has drawn so far."""
        runner: Any = self.model_runner  # type: ignore[attr-defined]
        runner.reload_weights(weights_path=folder)
        model = runner.get_model()
        if model.lm_head.weight.device.type == "cpu":
            # The CPU backend keeps a packed copy of each weight; that of a tied lm_head is not rebuilt by a reload.
            from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

            dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)
        return {name: len(request.output_token_ids) for name, request in runner.requests.items()}
