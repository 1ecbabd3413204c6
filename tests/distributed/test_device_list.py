"""Lists of devices: what people write, what it means, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amctq.distributed.device_list import (
    MOST_DEVICES,
    check_devices,
    crosses_groups,
    format_devices,
    joined_devices,
    parse_devices,
)
from amctq.errors import UsageError

LISTS = st.lists(st.integers(0, MOST_DEVICES - 1), min_size=1, unique=True).map(tuple)


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("[0,8)", range(8)),
        (" [ 0 , 16 ) ", range(16)),
        ("[15,16)", [15]),
        ("0-7", range(8)),
        ("0,1,2,3", range(4)),
        ("3,1", [3, 1]),
        ("0-3,8,10 - 11", [0, 1, 2, 3, 8, 10, 11]),
        ("12", [12]),
    ],
)
def test_what_people_write(text: str, devices: range | list[int]) -> None:
    assert parse_devices(text, option="--devices") == tuple(devices)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a list of devices"),
        ("[0,8]", "expected a list of devices"),
        ("(0,8)", "expected a list of devices"),
        ("0,,1", "expected a list of devices"),
        ("0;1", "expected a list of devices"),
        ("-1", "expected a list of devices"),
        ("9" * 5000, "expected a list of devices"),
        ("٣", "expected a list of devices"),
        ("[3,3)", "holds no device"),
        ("[8,0)", "holds no device"),
        ("0,7-4", "holds no device"),
        ("0,1,0", "device 0 twice"),
        ("0-3,2", "device 2 twice"),
        ("0-64", "device 64, expected 0 to 63"),
        ("[0,9999)", "device 64, expected 0 to 63"),
    ],
)
def test_what_is_no_list(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_devices(text, option="--devices")
    assert says in caught.value.message
    assert caught.value.message.startswith("--devices")
    assert caught.value.hint


def test_numbers_of_the_library_are_checked_too() -> None:
    for devices in ((), (-1,), (0, 0), (MOST_DEVICES,)):
        with pytest.raises(UsageError):
            check_devices(devices, option="--devices")


@given(LISTS)
def test_parsing_undoes_formatting(devices: tuple[int, ...]) -> None:
    assert parse_devices(format_devices(devices), option="") == devices
    assert parse_devices(",".join(map(str, devices)), option="") == devices


@given(st.integers(0, MOST_DEVICES - 1), st.integers(1, MOST_DEVICES))
def test_the_spellings_of_a_range_agree(first: int, length: int) -> None:
    end = min(first + length, MOST_DEVICES)
    interval = parse_devices(f"[{first},{end})", option="")
    assert interval == parse_devices(f"{first}-{end - 1}", option="") == tuple(range(first, end))


@given(st.text(alphabet="0123456789,-[]() x", max_size=12))
def test_any_text_is_a_list_or_a_usage_error(text: str) -> None:
    try:
        devices = parse_devices(text, option="")
    except UsageError:
        return
    assert devices
    assert len(set(devices)) == len(devices)


@given(LISTS, LISTS)
def test_file_names_tell_lists_apart(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    names = [(len(devices), joined_devices(devices)) for devices in (first, second)]
    assert (names[0] == names[1]) == (first == second)


def test_file_names_are_those_of_hccl_tools_below_ten() -> None:
    assert joined_devices(range(8)) == "01234567"
    assert joined_devices((9, 10)) == "9-10"


@given(st.sets(st.integers(0, 7), min_size=1))
def test_groups_are_one_four_the_other_four_or_all(devices: set[int]) -> None:
    allowed = devices <= {0, 1, 2, 3} or devices <= {4, 5, 6, 7} or len(devices) == 8
    assert crosses_groups(devices) != allowed
