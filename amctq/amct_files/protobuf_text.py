"""Classes of protobuf messages, made at run time from the names and types of their fields.

Protobuf's text has the names of fields, not their numbers. So a schema is names and types: no generated code to build
and to ship, and none that goes stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from amctq.errors import first_line

_Field = descriptor_pb2.FieldDescriptorProto
# Messages by name, each with its fields in the order of printing, as in "key:string value:Layer scale:float*". A star
# means repeated; a type with a capital is another message, or with bars the names of an enumeration's values.
Schema = Mapping[str, str]


def message_class(package: str, schema: Schema) -> Any:
    """The class of the first message of a schema.

    Args:
        package: of the messages; protobuf's own error messages show it.
        schema: the messages.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for message, fields in schema.items():
        added = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields_of(fields), start=1):
            field = added.field.add(name=name, number=number)
            field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if "|" in kind:
                values = added.enum_type.add(name=f"{name.title()}Values")
                for value_number, value in enumerate(kind.split("|")):
                    values.value.add(name=value, number=value_number)
                field.type_name = f".{package}.{message}.{values.name}"
            elif kind[0].isupper():
                field.type_name = f".{package}.{kind}"
            else:
                field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{next(iter(schema))}"))


def parse_text(text: str, message: Any) -> None:
    """Read a text into a message.

    Raises:
        text_format.ParseError: it is no such text. Protobuf itself raises more kinds of errors, as for a string that is
            no Unicode or a number that no field can hold.
    """
    try:
        text_format.Parse(text, message)
    except text_format.ParseError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, AttributeError, KeyError, IndexError) as error:
        raise text_format.ParseError(first_line(error)) from error


def fields_of(fields: str) -> list[tuple[str, str]]:
    """The fields of one message of a schema, each its name and its type."""
    return [(name, kind) for name, _, kind in (field.partition(":") for field in fields.split())]
