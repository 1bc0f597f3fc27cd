"""What runs inside the vLLM server: one extra route and the weight update. Loaded by vLLM through its own options
(`--middleware`, `--worker-extension-cls`), so any vLLM server started with them can serve Reforge.

The route takes a whole wave of prompts. The engine is paused, the requests enter its queue in their order, and it is
resumed: so the composition of every engine step is a function of the wave alone, and with per-request seeds the same
wave gives bitwise the same tokens and log-probs, whatever the network's timing.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

WAVE = "/reforge/wave"
_NUMBERS = itertools.count()


class WaveMiddleware:
    """ASGI middleware that answers POST /reforge/wave and passes everything else on.

    Body: {"requests": [{"token_ids": [...], "seed": 1, "max_tokens": 8, "temperature": 1.0, "top_p": 1.0,
    "prompt_logprobs": false}, ...]}. Answer: one JSON line per request, as each finishes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != WAVE:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        engine = scope["app"].state.engine_client
        requests = (await request.json())["requests"]
        try:
            collectors = await _enqueue(engine, requests)
        except Exception as error:  # anything wrong with one request is the caller's to hear
            await JSONResponse({"error": f"{type(error).__name__}: {error}"}, status_code=400)(scope, receive, send)
            return
        await StreamingResponse(_finished(collectors), media_type="application/x-ndjson")(scope, receive, send)


async def _enqueue(engine: Any, requests: list[dict[str, Any]]) -> list[Any]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    await engine.pause_generation(mode="keep")
    try:
        collectors = []
        for request in requests:
            params = SamplingParams(
                n=1,
                seed=request["seed"],
                max_tokens=request["max_tokens"],
                temperature=request["temperature"],
                top_p=request["top_p"],
                logprobs=0,
                prompt_logprobs=0 if request["prompt_logprobs"] else None,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            prompt = {"prompt_token_ids": request["token_ids"]}
            collectors.append(await engine.add_request(f"wave-{next(_NUMBERS)}", prompt, params))
        return collectors
    finally:
        await engine.resume_generation()


async def _finished(collectors: list[Any]) -> AsyncIterator[str]:
    async def one(number: int, collector: Any) -> str:
        output = await collector.get()
        completion = output.outputs[0]
        answer = {
            "number": number,
            "token_ids": list(completion.token_ids),
            "logprobs": [
                row[token].logprob for row, token in zip(completion.logprobs, completion.token_ids, strict=True)
            ],
            "finish_reason": completion.finish_reason,
        }
        if output.prompt_logprobs is not None:
            rows = zip(output.prompt_logprobs[1:], output.prompt_token_ids[1:], strict=True)
            answer["prompt_logprobs"] = [row[token].logprob for row, token in rows]
        return json.dumps(answer) + "\n"

    for line in asyncio.as_completed([one(number, collector) for number, collector in enumerate(collectors)]):
        yield await line


class WeightUpdate:
    """Mixed into vLLM's worker; called through /collective_rpc."""

    def update_weights_from(self, folder: str) -> None:
        runner: Any = self.model_runner  # type: ignore[attr-defined]
        runner.reload_weights(weights_path=folder)
        model = runner.get_model()
        if model.lm_head.weight.device.type == "cpu":
            # The CPU backend keeps a packed copy of each weight; that of a tied lm_head is not rebuilt by a reload.
            from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

            dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)
