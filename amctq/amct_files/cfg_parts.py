"""What a part of a ``.cfg`` says of a layer's input and weight, under the keys of the JSON files."""

from __future__ import annotations

from amctq.amct_files.cfg_text import CfgReader


def quant_parts(document: CfgReader, override: CfgReader | None) -> tuple[CfgReader, CfgReader]:
    """Of post-training quantization.

    Args:
        document: the file.
        override: of a layer or a type; None for the common configuration.
    """
    reader = document.message("common_config") if override is None else override.message("calibration_config")
    if "ifmr_quantize" in reader.value and "hfmg_quantize" in reader.value:
        found = "and ifmr_quantize both say how activations are observed"
        reader.fail("hfmg_quantize", found, "leave one of them out")
    return _observer(reader), reader.message("arq_quantize")


def retrain_parts(document: CfgReader, override: CfgReader | None) -> tuple[CfgReader, CfgReader]:
    """Of retraining, as ``quant_parts``."""
    reader = override or document
    ulq = reader.message("retrain_data_quant_config").message("ulq_quantize")
    clips = ulq.message("clip_max_min")
    fixed = {key: value for key, value in ulq.value.items() if key == "fixed_min"}
    weight = reader.message("retrain_weight_quant_config").message("arq_retrain")
    return clips.rewritten(clips.value | fixed), weight


def _observer(reader: CfgReader) -> CfgReader:
    """The observer's message."""
    if "hfmg_quantize" in reader.value:
        message = reader.message("hfmg_quantize")
        return message.rewritten(message.value | {"act_algo": "hfmg"})
    message = reader.message("ifmr_quantize")
    value = dict(message.value)
    search = [value.pop("search_range_start", 0.7), value.pop("search_range_end", 1.3)]
    said = "search_range_start" if "search_range_start" in message.value else "search_range_end"
    return message.rewritten(value | {"search_range": search}, search_range=said)
