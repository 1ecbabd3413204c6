"""Stands in for ATC, as strict as its manual: unknown words, chips and operators are refused with its codes.

Writes what ATC writes, where ATC writes it: the model beside ``--output``, and litter into the current directory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import onnx
from onnx import TensorProto, helper

CHIPS = {"Ascend310", "Ascend310P3", "Ascend910B1"}
ARGUMENTS = {"model", "framework", "output", "input_format", "input_shape", "soc_version"}
# What CANN registers its parsers of AscendQuant and AscendDequant for, in the oldest version.
OPSETS = range(9, 13)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def refuse(code: str, text: str) -> NoReturn:
    say("ATC start working now, please wait for a moment.")
    say("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    say(f"{code}: {text}")
    sys.exit(1)


def main(words: list[str]) -> None:
    given = dict(word.removeprefix("--").split("=", 1) for word in words)
    if set(given) != ARGUMENTS or len(words) != len(given):
        refuse("E10007", f"the parameters are {sorted(given)}, expected {sorted(ARGUMENTS)}")
    if given["soc_version"] not in CHIPS:
        refuse("E10001", f"Value [{given['soc_version']}] for parameter [--soc_version] is invalid.")
    if (given["framework"], given["input_format"]) != ("5", "NCHW"):
        refuse("E10001", "expected ONNX (5) and NCHW")
    model = onnx.load(given["model"])
    check(model, given["input_shape"])
    Path("kernel_meta").mkdir()
    Path("fusion_result.json").write_text("[]")
    Path(f"{given['output']}.om").write_bytes(b"om" + model.graph.name.encode())
    say("ATC run success, welcome to the next use.")


def check(model: onnx.ModelProto, shape: str) -> None:
    name, _, numbers = shape.partition(":")
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if name != model.graph.input[0].name or [int(number) for number in numbers.split(",")] != [1, *dims[1:]]:
        refuse("E10009", f"--input_shape {shape} does not fit {model.graph.input[0].name} {dims}")
    if [(entry.domain, entry.version in OPSETS) for entry in model.opset_import] != [("", True)]:
        refuse("E11006", "no parser for AscendQuant in this version of ONNX")
    types = {item.name: item.data_type for item in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        attributes = {item.name: item.type for item in node.attribute}
        maker = makers.get(node.input[0]) if node.input else None
        quantized = maker is not None and maker.op_type == "AscendQuant"
        if node.domain:
            refuse("E11005", f"{node.name} has a domain")
        if node.op_type == "AscendQuant":
            kinds = {"scale": onnx.AttributeProto.FLOAT, "offset": onnx.AttributeProto.FLOAT}
            if attributes != kinds | {"dst_type": onnx.AttributeProto.STRING}:
                refuse("E11007", f"{node.name}: {attributes}")
        elif node.op_type == "AscendDequant":
            sums = maker is not None and maker.op_type in {"Conv", "Gemm"}
            if not sums or types[node.input[1]] != TensorProto.UINT64 or set(attributes) != {"dtype"}:
                refuse("E11007", f"{node.name} reads no sums, or has no uint64")
        elif node.op_type in {"Conv", "Gemm"} and quantized:
            operands = [types[operand] for operand in node.input[1:]]
            if operands != [int(TensorProto.INT8), int(TensorProto.INT32)][: len(operands)]:
                refuse("E11007", f"{node.name} multiplies {operands}")
            values = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            if values.get("transB"):
                refuse("E11007", f"{node.name} is transposed")
        elif quantized:
            refuse("E11008", f"{node.name} reads int8")


if __name__ == "__main__":
    main(sys.argv[1:])
