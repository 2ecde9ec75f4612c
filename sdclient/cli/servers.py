"""The commands `info` and `serve`, which ask a WebUI and run one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import PATH, Output

from ..errors import MissingExtra

if TYPE_CHECKING:
    from ..client.server_info import ServerInfo
    from ..serve.diffusion_engine import DiffusionEngine

_INFO_EPILOG = """\b
Examples:
  sdclient info
  sdclient info --url http://gpu-pc:7860 --json
Name and password of the WebUI go into the environment variable SDCLIENT_AUTH (name:password)."""
_MODELS_SHOWN = 20
_GIB = 2**30


@click.command(epilog=_INFO_EPILOG)
@click.option("--url", help="The WebUI's address; default SDCLIENT_URL, else http://127.0.0.1:7860.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def info(url: str | None, as_json: bool) -> None:
    """Show a WebUI: which program, its models, samplers and memory, and the options that change results.

    Nothing is changed and nothing is generated. Options that spoil a run are warned about.
    """
    from ..client.server_info import read_server_info
    from ..client.webui import WebUI

    with WebUI(url) as webui:
        found = read_server_info(webui)
    out = Output(json=as_json)
    out.document(found.as_json)
    _show(out, found)
    for warning in found.warnings:
        out.note(f"Warning: {warning}", always=False)


def _show(out: Output, found: ServerInfo) -> None:
    options = []
    for state in found.options:
        note = "" if state.is_usual else f"usually {state.option.usual!r}; now {state.option.effect}"
        options.append((state.option.name, str(state.value), note))
    out.table(("item 项目", "value 值", "note 说明"), list(_facts(found)), totals=options, align="lll")


def _facts(found: ServerInfo) -> Iterator[tuple[str, str, str]]:
    """The rows about the server itself: (item, value, note)."""
    version = " ".join(part for part in (found.version.version, found.version.commit) if part)
    schedulers = "part of the sampler's name" if found.schedulers is None else ", ".join(found.schedulers)
    option = found.kind.schedule_option
    yield "address 地址", found.url, ""
    yield "kind 类型", found.kind.label, "; ".join(found.kind.recognised_by)
    yield "version 版本", version or "not reported", ""
    yield "model 当前模型", found.current_model or "none loaded", ""
    yield "models 模型", _models(found), "* in use"
    yield f"samplers 采样器 ({len(found.samplers)})", ", ".join(found.samplers), ""
    yield f"schedulers 调度器 ({len(found.schedulers or ())})", schedulers, f"in the option {option}" if option else ""
    yield "modules 模块 (VAE)" if found.kind.takes_modules else "VAE 变分自编码器", _names(found.vaes), ""
    yield "upscalers 放大算法", _number(found.upscalers), ""
    yield "LoRA", _number(found.loras), ""
    memory = found.memory
    yield "memory 内存", "not reported" if memory is None else _ram(memory.ram), ""
    yield "GPU memory 显存", "not reported" if memory is None else _cuda(memory.cuda), ""


def _models(found: ServerInfo) -> str:
    if found.models is None:
        return "not reported"
    ordered = sorted(found.models, key=lambda model: not found.is_current(model))
    lines = [f"{'*' if found.is_current(model) else ' '} {model.title}" for model in ordered[:_MODELS_SHOWN]]
    if len(ordered) > _MODELS_SHOWN:
        lines.append(f"  ... and {len(ordered) - _MODELS_SHOWN} more (--json lists all)")
    return "\n".join(lines) or "none"


def _names(names: tuple[str, ...] | None) -> str:
    return "not reported" if names is None else ", ".join(names) or "none but the models' own"


def _number(count: int | None) -> str:
    return "not reported" if count is None else str(count)


def _ram(ram: Mapping[str, Any]) -> str:
    if not {"used", "total"} <= ram.keys():
        return f"not reported ({ram.get('error', 'no numbers')})"
    return f"{ram['used'] / _GIB:.1f} GiB used of {ram['total'] / _GIB:.1f} GiB"


def _cuda(cuda: Mapping[str, Any]) -> str:
    system = cuda.get("system")
    if not isinstance(system, dict) or not {"used", "free", "total"} <= system.keys():
        return f"none in use ({cuda.get('error', 'no numbers')})"
    used, free, total = (system[key] / _GIB for key in ("used", "free", "total"))
    return f"{used:.1f} GiB used, {free:.1f} GiB free of {total:.1f} GiB"


_SERVE_EPILOG = """\b
Example:
  sdclient serve
  sdclient generate sources output --per-source 4 --url http://127.0.0.1:7861   (in another terminal)
With a password, which other programs of this machine cannot read from an environment variable:
  SDCLIENT_SERVE_AUTH=user:password sdclient serve
With a diffusion model of your own images (extra 'diffusion'):
  generator train data/train -o models/pads --minutes 30
  sdclient serve --engine diffusion --model models/pads"""


@click.command(epilog=_SERVE_EPILOG)
@click.option(
    "--engine",
    "engine_name",
    default="classical",
    show_default=True,
    type=click.Choice(["classical", "diffusion"]),
    help="What makes the pixels: image processing, or a model that 'generator train' made.",
)
@click.option("--model", metavar="MODEL", type=PATH, help="Folder of the model, for --engine diffusion.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where the model runs.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the model. Without it: torch's own choice.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7861, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--job-ms",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Minimum time of a batch in milliseconds, to try a pipeline against a slow server.",
)
@click.option(
    "--image-ms",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Further milliseconds for each image of a batch.",
)
@click.option(
    "--api-auth",
    metavar="USER:PASSWORD",
    envvar="SDCLIENT_SERVE_AUTH",
    help="Ask clients for this user and password [env: SDCLIENT_SERVE_AUTH].",
)
@click.option(
    "--with-page",
    is_flag=True,
    help="Answer /internal/* too, as a WebUI that was started without --nowebui: there clients can ask about a "
    "job by its name.",
)
def serve(
    engine_name: str,
    model: Path | None,
    device: str,
    threads: int | None,
    host: str,
    port: int,
    job_ms: float,
    image_ms: float,
    api_auth: str | None,
    with_page: bool,
) -> None:
    """Run a WebUI-compatible server that needs no GPU. It is NOT Stable Diffusion.

    With --engine classical, its images are the source, varied by classical image processing: for trying the whole
    chain, and a fair control for judging what diffusion adds. With --engine diffusion they come from a model of your
    own images; a prompt chooses its class by name. Stop it with Ctrl-C.
    """
    if (model is not None) != (engine_name == "diffusion"):
        raise click.BadParameter("--engine diffusion and --model MODEL go together", param_hint="--model")
    if api_auth is not None and ":" not in api_auth:
        raise click.BadParameter("expected USER:PASSWORD, with a colon between", param_hint="--api-auth")
    from sdcore.web import listen, url_of

    try:
        from ..serve.app import EmbeddedServerOptions, run_until_stopped
    except ModuleNotFoundError as error:
        raise MissingExtra("'sdclient serve'", "serve") from error
    from ..serve.engine import NOTICE

    engine: DiffusionEngine | None = None
    if model is not None:
        try:
            from ..serve.diffusion_engine import load_engine
        except ModuleNotFoundError as error:
            raise MissingExtra("'sdclient serve --engine diffusion'", "diffusion") from error
        engine = load_engine(model, device=device, threads=threads)
    out = Output()
    with listen(host, port) as bound:
        out.line(f"sdclient serve: {url_of(bound)}\n{NOTICE if engine is None else engine.notice}")
        if not bound.getsockname()[0].startswith("127.") and bound.getsockname()[0] != "::1":
            out.note(
                f"warning: {host} is not a loopback address, so other machines can reach this server"
                + ("" if api_auth else "; it asks for no password (--api-auth)")
            )
        options = EmbeddedServerOptions(
            engine=engine, job_ms=job_ms, image_ms=image_ms, api_auth=api_auth, with_page=with_page
        )
        run_until_stopped(bound, options)
