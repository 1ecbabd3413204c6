"""calibration_record.txt: AMCT's text, written and read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import example, given
from hypothesis import strategies as st

from amctq.amct_files.record_text import _message_class, dump_record, load_record, parse_record
from amctq.choices import AMCT_WEIGHT_BITS
from amctq.errors import InputError
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord

# (docs/en/reference.md, "Calibration record"), from AMCT's own documentation; dst_type is PyTorch's.
AMCT = """record {
  key: "conv1"
  value {
    scale_d: 0.0798481479
    offset_d: 1
    scale_w: 0.00297622895
    offset_w: 0
    skip_fusion: true
    dst_type: "INT8"
  }
}
record {
  key: "layer1.0.conv1"
  value {
    scale_d: 0.00392156886
    offset_d: -128
    scale_w: 0.00106807391
    scale_w: 0.00104224426
    offset_w: 0
    offset_w: 0
    dst_type: "INT8"
  }
}
"""


def _read(text: str | bytes, path: Path = Path("record.txt")) -> QuantRecord:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_record(path)


def test_amcts_own_record_is_read() -> None:
    record = _read(AMCT)
    assert [layer.name for layer in record.layers] == ["conv1", "layer1.0.conv1"]
    assert record["conv1"].activation.scale == pytest.approx(0.0798481479, rel=1e-7)
    assert record["conv1"].activation.offset == 1
    assert record["conv1"].skip_fusion
    assert record["layer1.0.conv1"].weight_scale.tolist() == pytest.approx([0.00106807391, 0.00104224426])
    with pytest.raises(KeyError):
        _ = record["conv2"]


@given(
    scales=st.lists(st.floats(2.0**-23, 2.0**20, width=32), min_size=1, max_size=20),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    bits=st.sampled_from([8, 4]),
    fused=st.booleans(),
)
@example(scales=[float(np.float32(1e-4))], name="conv", bits=8, fused=True)  # NumPy prints 1e-04
def test_the_text_is_what_protobuf_prints(scales: list[float], name: str, bits: int, fused: bool) -> None:
    layer = LayerRecord(
        name=name,
        activation=QParams(scales[0], -7),
        weight_scale=np.asarray(scales, np.float32),
        weight_bits=bits,
        skip_fusion=not fused,
    )
    text = dump_record(QuantRecord(layers=(layer,))).decode()
    message = text_format.Parse(text, _message_class()())
    assert text_format.MessageToString(message) == text
    assert list(message.record[0].value.scale_w) == scales
    assert message.record[0].key == name


def test_the_text_is_amcts() -> None:
    record = QuantRecord(
        layers=(
            LayerRecord(name="conv1", activation=QParams(0.5, -3), weight_scale=np.asarray([0.25, 0.125], np.float32)),
        )
    )
    assert dump_record(record).decode().splitlines() == [
        "record {",
        '  key: "conv1"',
        "  value {",
        "    scale_d: 0.5",
        "    offset_d: -3",
        "    scale_w: 0.25",
        "    scale_w: 0.125",
        "    offset_w: 0",
        "    offset_w: 0",
        '    act_type: "INT8"',
        '    wts_type: "INT8"',
        "  }",
        "}",
    ]


def test_amct_mindspore_knows_no_types() -> None:
    """Its prototype lacks them, and protobuf refuses a field that a prototype lacks."""
    text = dump_record(_read(AMCT), types=False).decode()
    assert "_type" not in text
    assert text == re.sub("    (act|wts)_type: .*\n", "", dump_record(_read(AMCT)).decode())


scales = st.floats(2.0**-22, 2.0**10, width=32)


@given(
    scale=scales, offset=st.integers(-128, 127), weights=st.lists(scales, min_size=1, max_size=5), skip=st.booleans()
)
def test_every_float_survives(scale: float, offset: int, weights: list[float], skip: bool) -> None:
    layer = LayerRecord(
        name="层.conv",
        activation=QParams(scale, offset),
        weight_scale=np.asarray(weights, np.float32),
        skip_fusion=skip,
    )
    (back,) = _read(dump_record(QuantRecord(layers=(layer,)))).layers
    assert (back.name, back.activation, back.skip_fusion) == (layer.name, layer.activation, layer.skip_fusion)
    assert np.array_equal(back.weight_scale, layer.weight_scale)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("record {", "no calibration record"),
        ('{"record": 1}', "no calibration record"),
        (AMCT.replace("scale_d: 0.0798481479", "scale_q: 1"), "no calibration record"),
        (AMCT.replace("offset_d: 1", "offset_d: 200"), "offset_d 200"),
        (AMCT.replace("scale_d: 0.0798481479", "scale_d: 0"), "every scale"),
        (AMCT.replace("scale_w: 0.00297622895", "scale_w: nan"), "every scale"),
        (AMCT.replace("    scale_w: 0.00297622895\n", ""), "no scale_w"),
        (AMCT.replace("offset_w: 0\n    skip", "offset_w: 7\n    skip"), "offset_w must be 0"),
        (AMCT.replace('"INT8"', '"INT4"'), "dst_type INT4"),
        (AMCT.replace('dst_type: "INT8"', 'wts_type: "INT16"'), "wts_type INT16, expected one of INT8"),
        (AMCT.replace("layer1.0.conv1", "conv1"), "duplicate layer name"),
        (AMCT.replace('dst_type: "INT8"', 'act_type: "INT16"'), "conv1: act_type INT16, expected INT8"),
        (
            AMCT.replace('dst_type: "INT8"', 'fakequant_precision_mode: "FORCE_FP16_QUANT"'),
            "FORCE_FP16_QUANT, expected D",
        ),
        (AMCT.replace("skip_fusion: true", "tensor_balance_factor: 0.5"), "conv1: tensor_balance_factor is of the DMQ"),
        (AMCT.replace("skip_fusion: true", "scale_r: 0.5"), "conv1: scale_r is of a recurrent layer"),
        (AMCT.replace("skip_fusion: true", "cluster: -128"), "conv1: cluster is of non-uniform"),
        ('record { key: "k" kv_cache_value { scale: 1 offset: 0 } }', "k: kv_cache_value is of a key-value cache"),
        ("prune_record { }", "no calibration record.*prune_record"),
    ],
)
def test_damaged_records_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        _read(text)


@pytest.mark.parametrize("bits", AMCT_WEIGHT_BITS)
def test_the_width_of_weights_is_amcts_wts_type(bits: int) -> None:
    scale = np.asarray([0.25], np.float32)
    layer = LayerRecord(name="conv1", activation=QParams(0.5, 0), weight_scale=scale, weight_bits=bits)
    text = dump_record(QuantRecord(layers=(layer,)))
    assert f'wts_type: "INT{bits}"' in text.decode()
    assert _read(text)["conv1"].weight_bits == bits
    assert _read(AMCT)["conv1"].weight_bits == 8


def test_what_other_front_ends_add_without_meaning_anything_else_is_read() -> None:
    """Retraining in PyTorch with widths of its own; a balancer that does nothing; Caffe's sizes and shifts."""
    text = AMCT.replace(
        '    skip_fusion: true\n    dst_type: "INT8"\n',
        '    shift_bit: 1\n    tensor_balance_factor: 1\n    dst_type: "UNSET"\n    act_type: "INT8"\n'
        '    wts_type: "INT4"\n    fakequant_precision_mode: "DEFAULT"\n'
        "    channels: 64\n    height: 56\n    width: 56\n",
    )
    assert text != AMCT
    conv1 = _read(text)["conv1"]
    assert (conv1.weight_bits, conv1.activation.offset, conv1.skip_fusion) == (4, 1, False)


def test_a_missing_record_is_refused() -> None:
    with pytest.raises(InputError, match="cannot read"):
        load_record(Path("nowhere.txt"))


def test_a_record_is_read_from_its_content() -> None:
    """With or without BOM, whatever ends its lines; messages call it what the caller does."""
    plain = parse_record(AMCT.encode(), "it")
    windows = parse_record(b"\xef\xbb\xbf" + AMCT.replace("\n", "\r\n").encode(), "it")
    assert dump_record(plain) == dump_record(windows)
    with pytest.raises(InputError, match=r"^the record of rank 0, line 1: the byte 0xff"):
        parse_record(b"\xff", "the record of rank 0")
