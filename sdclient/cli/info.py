"""`sdclient info`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from sdcore.cli import Output

if TYPE_CHECKING:
    from ..server_info import ServerInfo

_EPILOG = """\b
Examples:
  sdclient info
  sdclient info --url http://gpu-pc:7860 --json
Name and password of the WebUI go into the environment variable SDCLIENT_AUTH (name:password)."""
_MODELS_SHOWN = 20
_GIB = 2**30


@click.command(epilog=_EPILOG)
@click.option("--url", help="The WebUI's address; default SDCLIENT_URL, else http://127.0.0.1:7860.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def info(url: str | None, as_json: bool) -> None:
    """Show a WebUI: which program, its models, samplers and memory, and the options that change results.

    Nothing is changed and nothing is generated. Options that spoil a run are warned about.
    """
    from ..client import WebUI
    from ..server_info import gather

    with WebUI(url) as webui:
        found = gather(webui)
    out = Output(json=as_json)
    out.document(found.as_json)
    _show(out, found)
    for warning in found.warnings:
        out.note(f"Warning: {warning}", always=False)


def _show(out: Output, found: ServerInfo) -> None:
    options = [
        (
            state.option.name,
            str(state.value),
            "" if state.is_usual else f"usually {state.option.usual!r}; now {state.option.effect}",
        )
        for state in found.options
    ]
    out.table(("item 项目", "value 值", "note 说明"), list(_facts(found)), totals=options, align="lll")


def _facts(found: ServerInfo) -> Iterator[tuple[str, str, str]]:
    """The rows about the server itself: (item, value, note)."""
    version = " ".join(part for part in (found.version.version, found.version.commit) if part)
    schedulers = "part of the sampler's name" if found.schedulers is None else ", ".join(found.schedulers)
    option = found.kind.schedule_option
    yield "address 地址", found.url, ""
    yield "kind 类型", found.kind.label, "; ".join(found.kind.recognised_by)
    yield "version 版本", version or "not told", ""
    yield "model 当前模型", found.current_model or "none loaded", ""
    yield "models 模型", _models(found), "* in use"
    yield f"samplers 采样器 ({len(found.samplers)})", ", ".join(found.samplers), ""
    yield f"schedulers 调度器 ({len(found.schedulers or ())})", schedulers, f"in the option {option}" if option else ""
    yield "modules 模块 (VAE)" if found.kind.takes_modules else "VAE 变分自编码器", _names(found.vaes), ""
    yield "upscalers 放大算法", _number(found.upscalers), ""
    yield "LoRA", _number(found.loras), ""
    memory = found.memory
    yield "memory 内存", "not told" if memory is None else _ram(memory.ram), ""
    yield "GPU memory 显存", "not told" if memory is None else _cuda(memory.cuda), ""


def _models(found: ServerInfo) -> str:
    if found.models is None:
        return "not told"
    ordered = sorted(found.models, key=lambda model: not found.is_current(model))
    lines = [f"{'*' if found.is_current(model) else ' '} {model.title}" for model in ordered[:_MODELS_SHOWN]]
    if len(ordered) > _MODELS_SHOWN:
        lines.append(f"  ... and {len(ordered) - _MODELS_SHOWN} more (--json lists all)")
    return "\n".join(lines) or "none"


def _names(names: tuple[str, ...] | None) -> str:
    return "not told" if names is None else ", ".join(names) or "none but the models' own"


def _number(count: int | None) -> str:
    return "not told" if count is None else str(count)


def _ram(ram: Mapping[str, Any]) -> str:
    if not {"used", "total"} <= ram.keys():
        return f"not told ({ram.get('error', 'no numbers')})"
    return f"{ram['used'] / _GIB:.1f} GiB used of {ram['total'] / _GIB:.1f} GiB"


def _cuda(cuda: Mapping[str, Any]) -> str:
    system = cuda.get("system")
    if not isinstance(system, dict) or not {"used", "free", "total"} <= system.keys():
        return f"none in use ({cuda.get('error', 'no numbers')})"
    used, free, total = (system[key] / _GIB for key in ("used", "free", "total"))
    return f"{used:.1f} GiB used, {free:.1f} GiB free of {total:.1f} GiB"
