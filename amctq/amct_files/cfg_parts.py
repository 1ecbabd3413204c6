"""What a part of a ``.cfg`` says of a layer's input and weight, under the keys of the JSON files."""

from __future__ import annotations

from amctq.amct_files import ada_quantize
from amctq.amct_files.cfg_text import CfgReader


def quant_parts(document: CfgReader, override: CfgReader | None) -> tuple[CfgReader, CfgReader]:
    """Of post-training quantization.

    Args:
        document: the file.
        override: of a layer or a type; None for the common configuration.
    """
    common = document.message("common_config")
    if override is None:
        return _observer(common), _weight(common)
    reader = override.message("calibration_config")
    return _inheriting(_observer(reader), common), _weight(reader)


def retrain_parts(document: CfgReader, override: CfgReader | None) -> tuple[CfgReader, CfgReader]:
    """Of retraining, as ``quant_parts``."""
    reader = override or document
    ulq = reader.message("retrain_data_quant_config").message("ulq_quantize")
    clips = ulq.message("clip_max_min")
    others = {key: value for key, value in ulq.value.items() if key in {"fixed_min", "dst_type"}}
    weight = reader.message("retrain_weight_quant_config").message("arq_retrain")
    return clips.rewritten(clips.value | others), weight


def _weight(reader: CfgReader) -> CfgReader:
    """The weight's message."""
    if ada_quantize.NAME in reader.value:
        return _ada(reader)
    message = reader.message("arq_quantize")
    if "quant_bits" not in message.value:
        return message
    value = {"num_bits" if key == "quant_bits" else key: item for key, item in message.value.items()}
    return message.rewritten(value, num_bits="quant_bits")


def _ada(reader: CfgReader) -> CfgReader:
    """The weight's message of AdaRound."""
    if "arq_quantize" in reader.value:
        reader.fail(ada_quantize.NAME, "and arq_quantize both say how weights are rounded", "leave one of them out")
    message = reader.message(ada_quantize.NAME)
    value, beta = dict(message.value), list(ada_quantize.BETA_RANGE)
    for index, key in enumerate(("beta_range_start", "beta_range_end")):
        beta[index] = value.pop(key, beta[index])
    said = "beta_range_start" if "beta_range_start" in message.value else "beta_range_end"
    return message.rewritten(value | {"beta_range": beta, "wts_algo": ada_quantize.NAME}, beta_range=said)


def _observer(reader: CfgReader) -> CfgReader:
    """The observer's message."""
    if "ifmr_quantize" in reader.value and "hfmg_quantize" in reader.value:
        found = "and ifmr_quantize both say how activations are observed"
        reader.fail("hfmg_quantize", found, "leave one of them out")
    algo = "hfmg" if "hfmg_quantize" in reader.value else "ifmr"
    message = reader.message(f"{algo}_quantize")
    message.only("dst_type", "INT8")
    value = {key: item for key, item in message.value.items() if key != "dst_type"}
    if algo == "hfmg":
        return message.rewritten(value | {"act_algo": algo})
    search = [value.pop("search_range_start", 0.7), value.pop("search_range_end", 1.3)]
    said = "search_range_start" if "search_range_start" in message.value else "search_range_end"
    return message.rewritten(value | {"search_range": search}, search_range=said)


def _inheriting(observer: CfgReader, common: CfgReader) -> CfgReader:
    """An override's observer: it replaces the common one whole, but AMCT lets it keep ``asymmetric``.

    That is so where both have the same observer, and the common configuration names it.
    """
    algo = observer.value.get("act_algo", "ifmr")
    asymmetric = common.message(f"{algo}_quantize").value.get("asymmetric")
    if asymmetric is None or "asymmetric" in observer.value:
        return observer
    return observer.rewritten(observer.value | {"asymmetric": asymmetric})
