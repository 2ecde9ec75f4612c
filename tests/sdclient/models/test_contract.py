"""Every typed payload against the server's own OpenAPI, as it was recorded: nothing missing, nothing different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdclient import models
from sdclient.models import Reply, Request

REQUESTS: dict[str, type[Request]] = {
    "StableDiffusionProcessingImg2Img": models.Img2ImgRequest,
    "StableDiffusionProcessingTxt2Img": models.Txt2ImgRequest,
    "ExtrasSingleImageRequest": models.ExtrasSingleRequest,
    "ExtrasBatchImagesRequest": models.ExtrasBatchRequest,
    "FileData": models.NamedImage,
    "InterrogateRequest": models.InterrogateRequest,
    "PNGInfoRequest": models.PngInfoRequest,
}
REPLIES: dict[str, type[Reply]] = {
    "ImageToImageResponse": models.GenerationReply,
    "TextToImageResponse": models.GenerationReply,
    "ExtrasSingleImageResponse": models.ExtrasSingleReply,
    "ExtrasBatchImagesResponse": models.ExtrasBatchReply,
    "PNGInfoResponse": models.PngInfo,
    "ProgressResponse": models.Progress,
    "MemoryResponse": models.Memory,
    "SamplerItem": models.Sampler,
    "SchedulerItem": models.Scheduler,
    "UpscalerItem": models.Upscaler,
    "LatentUpscalerModeItem": models.LatentUpscaleMode,
    "SDModelItem": models.SDModel,
    "SDVaeItem": models.VAE,
    "HypernetworkItem": models.Hypernetwork,
    "FaceRestorerItem": models.FaceRestorer,
    "RealesrganItem": models.RealESRGANModel,
    "PromptStyleItem": models.PromptStyle,
    "EmbeddingItem": models.Embedding,
    "EmbeddingsResponse": models.Embeddings,
    "ExtensionItem": models.Extension,
    "ScriptsList": models.ScriptsList,
    "ScriptArg": models.ScriptArg,
    "ScriptInfo": models.ScriptInfo,
}
OPEN_REPLIES: dict[str, type[Reply]] = {"Options": models.Options, "Flags": models.CmdFlags}
"""Their properties change with the version and the extensions: some are typed, all are kept (test_replies.py)."""

ERRORS = {"HTTPValidationError", "ValidationError"}
"""Read by the client's error map."""
GENERIC = {"CreateResponse", "TrainResponse"}
"""Training of embeddings and hypernetworks, through the generic call."""

OTHER_DEFAULTS: dict[tuple[str, str], str] = {
    ("StableDiffusionProcessingImg2Img", "denoising_strength"): "0.25 in place of 0.75: a defect must stay a defect",
    ("StableDiffusionProcessingImg2Img", "init_images"): "required: without it the server answers 404",
    ("ExtrasSingleImageRequest", "image"): "required: its default, an empty text, is answered with 500",
    ("InterrogateRequest", "image"): "required: its default, an empty text, is answered with 500",
}
OTHER_TYPES: dict[tuple[str, str], str] = {
    ("ImageToImageResponse", "info"): "the JSON in the string is read",
    ("TextToImageResponse", "info"): "the JSON in the string is read",
    ("Options", "CLIP_stop_at_last_layers"): "called a number, a count in fact",
    ("Options", "sd_model_checkpoint"): "of no type there, a text in replies",
}


JSON_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@pytest.fixture(scope="module")
def schemas(webui_recordings: Path) -> dict[str, Any]:
    contract = json.loads((webui_recordings / "openapi.json").read_text(encoding="utf-8"))
    return contract["components"]["schemas"]


def ours(model: type[Request] | type[Reply]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Field name and JSON schema by the name on the wire."""
    described = model.model_json_schema(mode="validation", by_alias=False)
    shared = {"$defs": described.get("$defs", {})}
    return {
        field.serialization_alias or name: (name, {**described["properties"][name], **shared})
        for name, field in model.model_fields.items()
    }


def json_types(schema: dict[str, Any], defs: dict[str, Any]) -> set[str]:
    """The JSON types a schema allows; "any" for one that allows all."""
    if "$ref" in schema:
        return json_types(defs[schema["$ref"].rsplit("/", 1)[-1]], defs)
    if "anyOf" in schema:
        return set().union(*(json_types(variant, defs) for variant in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return {JSON_NAMES[type(value)] for value in values}
    if "type" not in schema and schema.get("default") is not None:
        return {JSON_NAMES[type(schema["default"])]}
    return {schema.get("type", "any")}


def covers(wide: set[str], narrow: set[str]) -> bool:
    """Whether all of `narrow` is among `wide`; a whole number is a number too."""
    return "any" in wide or narrow <= (wide | {"integer"} if "number" in wide else wide)


def compared(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(name, model, id=name) for name, model in table.items()]


def test_every_schema_of_the_contract_has_its_model(schemas: dict[str, Any]) -> None:
    assert {*REQUESTS, *REPLIES, *OPEN_REPLIES, *ERRORS, *GENERIC} == set(schemas)


@pytest.mark.parametrize(("name", "model"), compared({**REQUESTS, **REPLIES}))
def test_every_property_is_there(schemas: dict[str, Any], name: str, model: type[Request]) -> None:
    missing = set(schemas[name]["properties"]) - set(ours(model))
    assert not missing


@pytest.mark.parametrize(("name", "model"), compared(REQUESTS))
def test_nothing_is_sent_that_the_server_does_not_know(
    schemas: dict[str, Any], name: str, model: type[Request]
) -> None:
    assert set(ours(model)) == set(schemas[name]["properties"])


@pytest.mark.parametrize(("name", "model"), compared({**REQUESTS, **REPLIES, **OPEN_REPLIES}))
def test_types_agree(schemas: dict[str, Any], name: str, model: type[Request]) -> None:
    different = set()
    for wire, (_, schema) in ours(model).items():
        theirs = schemas[name]["properties"].get(wire)
        if theirs is None:
            continue  # ours is an addition; test_every_property_is_there looks the other way
        our_types = json_types(schema, schema["$defs"])
        their_types = json_types(theirs, schemas)
        fits = covers(their_types, our_types - {"null"}) if name in REQUESTS else covers(our_types, their_types)
        if not fits:
            different.add((name, wire))
    assert different == {key for key in OTHER_TYPES if key[0] == name}


@pytest.mark.parametrize(("name", "model"), compared({**REQUESTS, "Options": models.Options}))
def test_defaults_are_the_servers(schemas: dict[str, Any], name: str, model: type[Request]) -> None:
    required = set(schemas[name].get("required", ()))
    different = set()
    for wire, (field, schema) in ours(model).items():
        theirs = schemas[name]["properties"].get(wire)
        if theirs is None:
            continue
        info = model.model_fields[field]
        if info.is_required() or wire in required:
            same = info.is_required() and wire in required
        elif info.default_factory is not None:
            same = model.model_construct().model_dump()[field] == theirs.get("default")
        else:
            same = schema.get("default") == theirs.get("default")
        if not same and (name in REQUESTS or "default" in theirs):
            different.add((name, wire))
    assert different == {key for key in OTHER_DEFAULTS if key[0] == name}


@pytest.mark.parametrize(("name", "model"), compared(REPLIES))
def test_what_the_server_may_leave_out_is_not_required(schemas: dict[str, Any], name: str, model: type[Reply]) -> None:
    required = {wire for wire, (field, _) in ours(model).items() if model.model_fields[field].is_required()}
    assert required <= set(schemas[name].get("required", ()))


@pytest.mark.parametrize(("name", "model"), compared(REQUESTS))
def test_the_servers_ranges_are_kept(schemas: dict[str, Any], name: str, model: type[Request]) -> None:
    for wire, (_, schema) in ours(model).items():
        theirs = schemas[name]["properties"][wire]
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum"):
            if bound in theirs:
                assert schema[bound] == theirs[bound], (wire, bound)


@pytest.mark.parametrize(("name", "model"), compared({**REQUESTS, **REPLIES}))
def test_requests_refuse_and_replies_keep_what_is_unknown(name: str, model: type[Request]) -> None:
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == ("forbid" if name in REQUESTS else "allow")
