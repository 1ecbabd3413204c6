"""``amctq rank-table`` as a user runs it: with hccn_tool, with hccn.conf, and on the tables of several servers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from amctq import RankTableRequest, rank_table
from amctq.distributed import hccn
from amctq.errors import InputError, UsageError
from tests.command import AMCTQ, Finished, amctq, amctq_here
from tests.distributed.tables import document

NO_TOOL = pytest.mark.skipif(hccn.HCCN_CONF.exists(), reason="this machine has addresses of NPUs")
NO_NPU = pytest.mark.skipif(Path("/dev/davinci0").exists(), reason="the driver lists the NPUs here")


def _addresses(count: int, subnet: int = 0) -> dict[int, str]:
    return {device: f"192.168.{subnet}.{device + 1}" for device in range(count)}


def _conf(addresses: Mapping[int, str] | int, name: str = "hccn.conf") -> Path:
    """The file as the driver keeps it."""
    lines = []
    for device, address in (_addresses(addresses) if isinstance(addresses, int) else addresses).items():
        lines += [f"address_{device}={address}", f"netmask_{device}=255.255.255.0", f"netdetect_{device}=192.168.0.254"]
    path = Path(name)
    path.write_text("\n".join([*lines, ""]))
    return path


def _tool(answers: Mapping[int, str], *, exit_code: int = 0) -> dict[str, str]:
    """An hccn_tool on PATH that answers ``-i N -ip -g``, and nothing else; returns the environment."""
    folder = Path("tools")
    folder.mkdir()
    cases = "\n".join(
        f"\"-i {device} -ip -g\") printf '{answer}'; exit {exit_code};;" for device, answer in answers.items()
    )
    script = folder / "hccn_tool"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {folder.absolute()}/asked\ncase "$*" in\n{cases}\n'
        f"*) echo 'Cmd execute failed'; exit 1;;\nesac\n"
    )
    script.chmod(0o755)
    return {"PATH": f"{folder.absolute()}:{os.environ['PATH']}"}


def _answers(count: int) -> dict[int, str]:
    return {device: f"ipaddr:{address}\\nnetmask:255.255.255.0\\n" for device, address in _addresses(count).items()}


def _create(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Finished:
    return amctq_here("rank-table", "--server-ip", "10.0.0.1", *arguments, "--json", env=env)


def _table(done: Finished) -> dict[str, Any]:
    """The table that was written, which is the one in the envelope."""
    assert done.code == 0, done.stderr
    (artifact,) = done.envelope["artifacts"]
    content = Path(artifact["path"]).read_bytes()
    assert (artifact["bytes"], artifact["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    table = json.loads(content)
    assert table == done.envelope["data"]["rank_table"]
    assert isinstance(table, dict)
    return table


def _refused(done: Finished, code: int, *says: str) -> None:
    assert done.code == code, done.stderr
    (error,) = done.envelope["errors"]
    assert all(part in error["message"] for part in says), error["message"]
    assert error["hint"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
def test_a_server_by_hccn_conf(count: int) -> None:
    """The documented schema, byte for byte as hccl_tools lays it out, under the name that it gives."""
    done = _create("--hccn-conf", _conf(count))
    assert _table(done) == document(("10.0.0.1", count))
    name = f"hccl_{count}p_{('-' if count > 10 else '').join(map(str, range(count)))}_10.0.0.1.json"
    assert Path(name).read_text() == json.dumps(document(("10.0.0.1", count)), indent=4) + "\n"
    assert done.envelope["data"]["addresses_from"] == "hccn.conf"
    assert {path.name for path in Path().iterdir()} == {"hccn.conf", name}


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
def test_a_server_by_hccn_tool(count: int) -> None:
    done = _create("--devices", f"[0,{count})", env=_tool(_answers(count)))
    assert _table(done) == document(("10.0.0.1", count))
    assert done.envelope["data"]["addresses_from"] == "hccn_tool"
    asked = Path("tools/asked").read_text().splitlines()
    assert asked == [f"-i {device} -ip -g" for device in range(count)]


@NO_NPU
def test_hccn_tool_is_asked_which_devices_there_are() -> None:
    assert _table(_create(env=_tool(_answers(4)))) == document(("10.0.0.1", 4))


def test_a_file_that_is_given_wins_over_hccn_tool() -> None:
    """So that one machine can write the tables of others."""
    done = _create("--hccn-conf", _conf(2), env=_tool({0: "ipaddr:10.9.9.9\\n"}))
    assert _table(done) == document(("10.0.0.1", 2))
    assert not Path("tools/asked").exists()


def test_hccn_tool_may_print_ipv6() -> None:
    done = _create("--devices", "0", env=_tool({0: "ipaddr:2001:db8::7\\nprefix_length:64\\n"}))
    assert _table(done)["server_list"][0]["device"][0]["device_ip"] == "2001:db8::7"


@pytest.mark.parametrize(
    "spelling",
    [
        ["--devices", "[0,8)"],
        ["--devices", "0-7"],
        ["--devices", "0,1,2,3,4,5,6,7"],
        ["--device-num", "[0,8)"],
        ["--device_num", "[0,8)"],
        ["--device_num=[0,8)"],
        ["--device_num", "[0,8)", "--visible_devices", "0,1,2,3,4,5,6,7", "--server_ip", "10.0.0.1"],
    ],
    ids=" ".join,
)
def test_the_spellings_of_devices(spelling: list[str]) -> None:
    assert _table(_create("--hccn-conf", _conf(8), *spelling)) == document(("10.0.0.1", 8))


def test_options_from_the_environment() -> None:
    env = {"AMCTQ_DEVICES": "[0,4)", "AMCTQ_HCCN_CONF": str(_conf(8)), "AMCTQ_SERVER_IP": "10.0.0.9"}
    assert _table(amctq_here("rank-table", "--json", env=env)) == document(("10.0.0.9", 4))


def test_devices_index_into_the_visible_ones() -> None:
    """hccl_tools ends here with KeyError: it asks for the addresses of 0 to 3."""
    done = _create("--hccn-conf", _conf(8), "--visible-devices", "4,5,6,7", "--devices", "[0,4)")
    devices = _table(done)["server_list"][0]["device"]
    assert [(device["device_id"], device["rank_id"]) for device in devices] == [(str(4 + n), str(n)) for n in range(4)]
    assert devices[0]["device_ip"] == "192.168.0.5"
    assert Path("hccl_4p_0123_10.0.0.1.json").exists(), "the name has the numbers of --devices, as hccl_tools' has"
    again = _create("--hccn-conf", "hccn.conf", "--visible-devices", "4-7", "--output", "all.json")
    assert _table(again) == _table(done)


def test_the_order_of_devices_is_that_of_ranks() -> None:
    devices = _table(_create("--hccn-conf", _conf(16), "--devices", "12,3"))["server_list"][0]["device"]
    assert [(device["device_id"], device["rank_id"]) for device in devices] == [("12", "0"), ("3", "1")]
    assert Path("hccl_2p_12-3_10.0.0.1.json").exists()


def test_the_groups_of_an_8_device_server() -> None:
    conf = _conf(8)
    _refused(_create("--hccn-conf", conf, "--devices", "2-5"), 2, "devices 2-5 reach over the groups 0-3 and 4-7")
    for chosen in ([3, 4], range(7), [0, 1, 2, 4]):
        with pytest.raises(UsageError, match="reach over the groups"):
            rank_table(RankTableRequest(server_ip="10.0.0.1", hccn_conf=conf, devices=tuple(chosen)))
    assert list(Path().glob("*.json")) == []
    for chosen in (range(4), range(4, 8), [5], range(8), [1, 2]):
        rank_table(RankTableRequest(server_ip="10.0.0.1", hccn_conf=conf, devices=tuple(chosen)))
    devices = _table(_create("--hccn-conf", conf, "--devices", "2-5", "--no-group-check"))["server_list"][0]["device"]
    assert [device["device_id"] for device in devices] == ["2", "3", "4", "5"]


def test_groups_are_of_physical_devices() -> None:
    _refused(
        _create("--hccn-conf", _conf(8), "--visible-devices", "2,3,4,5", "--devices", "[0,4)"), 2, "2-5 reach over"
    )


@pytest.mark.parametrize(
    ("addresses", "warned"),
    [(_addresses(16), False), ({1: "10.1.0.1", 4: "10.1.0.4"}, True)],
    ids=["16-devices", "two-cards"],
)
def test_other_servers_have_no_such_groups(addresses: dict[int, str], warned: bool) -> None:
    devices = [] if warned else ["--devices", "2-5"]
    done = _create("--hccn-conf", _conf(addresses), *devices)
    _table(done)
    assert ("reach over the groups" in done.stderr) == warned == bool(done.envelope["data"]["warnings"])


@NO_NPU
@pytest.mark.parametrize(("count", "code"), [(8, 2), (16, 0)])
def test_the_groups_are_known_with_hccn_tool_too(count: int, code: int) -> None:
    assert _create("--devices", "2-5", env=_tool(_answers(count))).code == code


def test_the_server_is_named_by_the_address_of_its_host_name() -> None:
    try:
        own = socket.gethostbyname(socket.gethostname())
    except OSError:
        pytest.skip("the host name of this machine stands for no address")
    done = amctq_here("rank-table", "--hccn-conf", _conf(1), "--json")
    assert _table(done) == document((own, 1))
    assert Path(f"hccl_1p_0_{own}.json").exists()
    assert ("other servers cannot reach" in done.stderr) == own.startswith("127.")


def test_an_existing_table_is_kept_unless_forced() -> None:
    path = Path("hccl_1p_0_10.0.0.1.json")
    path.write_text("mine")
    _refused(_create("--hccn-conf", _conf(1)), 2, f"already holds {path}")
    assert path.read_text() == "mine"
    assert _table(_create("--hccn-conf", "hccn.conf", "--force")) == document(("10.0.0.1", 1))


def test_where_the_file_goes() -> None:
    conf = _conf(1)
    for options, path in (
        (["--output", "新 目录/表.json"], Path("新 目录/表.json")),
        (["--output-dir", "out", "--output", "t.json"], Path("out/t.json")),
        (["--output-dir", "out"], Path("out/hccl_1p_0_10.0.0.1.json")),
    ):
        done = _create(
            "--hccn-conf", conf, *options, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        )
        assert _table(done) == document(("10.0.0.1", 1))
        assert path.exists()


@pytest.mark.parametrize(
    ("answers", "exit_code", "says"),
    [
        ({0: "ipaddr:10.0.0.1\\n"}, 0, ("hccn_tool -i 1 -ip -g", "Cmd execute failed")),
        ({0: "ipaddr:10.0.0.1\\n", 1: "ipaddr:-.-.-.-\\n"}, 0, ("-i 1", "'-.-.-.-'", "expected an IPv4 or IPv6")),
        ({0: "ipaddr:10.0.0.1\\n", 1: ""}, 0, ("-i 1", "expected a line ipaddr:ADDRESS")),
        ({0: "ipaddr:10.0.0.1\\n"}, 3, ("-i 0", "expected a line ipaddr:ADDRESS")),
    ],
    ids=["no-device", "no-address", "silent", "fails"],
)
def test_what_hccn_tool_cannot_say(answers: dict[int, str], exit_code: int, says: tuple[str, ...]) -> None:
    _refused(_create("--devices", "0-1", env=_tool(answers, exit_code=exit_code)), 3, *says)
    assert list(Path().glob("*.json")) == []


def test_an_hccn_tool_that_cannot_run() -> None:
    env = _tool({})
    Path("tools/hccn_tool").write_text("#!/no/such/interpreter\n")
    _refused(_create("--devices", "0", env=env), 3, "cannot run", "hccn_tool")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "found no line as in address_0="),
        ("address_0=10.0.0.1\naddress_0=10.0.0.2\n", "'10.0.0.1' and '10.0.0.2', expected one address"),
        ("address_0=\n", "address_0: found '', expected an IPv4 or IPv6 address"),
        ("address_0=10.0.0.1\naddress_1=10.0.0.1\n", "device[1] (device_id 1): device_ip: found 10.0.0.1, which"),
    ],
    ids=["empty", "two-addresses", "no-address", "the-same"],
)
def test_a_bad_hccn_conf(content: str, says: str) -> None:
    Path("bad.conf").write_text(content)
    _refused(_create("--hccn-conf", "bad.conf"), 3, "bad.conf", says)
    assert [path.name for path in Path().iterdir()] == ["bad.conf"]


def test_an_hccn_conf_as_people_edit_it() -> None:
    Path("edited.conf").write_bytes(
        "# 网卡\n address_1 = 192.168.0.2 \r\naddress_0=192.168.0.1\r\nbad\xff".encode("latin1", "replace")
    )
    assert _table(_create("--hccn-conf", "edited.conf")) == document(("10.0.0.1", 2))


def test_a_device_that_hccn_conf_lacks() -> None:
    _refused(_create("--hccn-conf", _conf(4), "--devices", "[0,8)"), 3, "no address_4", "found device 0-3")


@NO_TOOL
def test_no_source_of_addresses() -> None:
    done = _create(env={"PATH": str(Path().absolute())})
    _refused(done, 3, "hccn_tool is not on PATH", "/etc/hccn.conf")
    _refused(_create("--hccn-conf", "none.conf"), 3, "cannot read the list of NICs none.conf: No such file")


def test_without_hccn_tool_the_drivers_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hccn, "HCCN_CONF", _conf(2).absolute())
    monkeypatch.setenv("PATH", str(tmp_path))
    result = rank_table(RankTableRequest(server_ip="10.0.0.1"))
    assert result.data()["rank_table"] == document(("10.0.0.1", 2))
    assert result.addresses_from == str(Path("hccn.conf").absolute())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--devices", "[0,8]"],
        ["--visible-devices", "4-7", "--devices", "4-7"],
        ["--merge"],
        ["one.json"],
        ["--check", "one.json", "--devices", "0"],
    ],
    ids=" ".join,
)
def test_usage(arguments: list[str]) -> None:
    conf = [] if "--check" in arguments or "--merge" in arguments else ["--hccn-conf", _conf(8)]
    _refused(amctq_here("rank-table", *conf, *arguments, "--json"), 2)
    assert list(Path().glob("*.json")) == []


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"check": Path("a.json"), "merge": (Path("b.json"),)}, "--check and --merge contradict"),
        ({"check": Path("a.json"), "output": Path("b.json")}, "--check and --output contradict"),
        ({"merge": (Path("a.json"),), "visible_devices": (0,)}, "--merge and --visible-devices contradict"),
        ({"merge": (Path("a.json"),), "server_ip": "10.0.0.1"}, "--merge and --server-ip contradict"),
        ({"merge": (Path("a.json"),), "hccn_conf": Path("h")}, "--merge and --hccn-conf contradict"),
        ({"merge": ()}, "--merge: found no file"),
        ({"devices": (0, 0)}, "--devices: found device 0 twice"),
        ({"devices": ()}, "--devices: found no device"),
        ({"visible_devices": (64,)}, "--visible-devices: found device 64"),
        ({"visible_devices": (4, 5), "devices": (2,)}, "--devices: found 2, expected 0 to 1"),
        ({"server_ip": "node1"}, "--server-ip 'node1': expected an IPv4 or IPv6 address"),
        ({"server_ip": "10.0.0.256"}, "--server-ip '10.0.0.256'"),
        ({"output": Path("table.txt")}, "ends in .json"),
    ],
)
def test_what_a_request_refuses(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        RankTableRequest(**request_)
    assert says in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_ends_hccn_tool_too(number: int, code: int) -> None:
    env = {**os.environ, **_tool({})}
    Path("tools/hccn_tool").write_text(f"#!/bin/sh\necho $$ > {Path('pid').absolute()}\nexec sleep 60\n")
    command: list[str | Path] = [AMCTQ, "rank-table", "--server-ip", "10.0.0.1", "--devices", "0"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if Path("pid").exists() and Path("pid").read_text():
                break
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(20) == code
    tool = int(Path("pid").read_text())
    for _ in range(100):  # it was killed; whoever inherits it may be slow to bury it
        if not Path(f"/proc/{tool}").exists():
            break
        time.sleep(0.1)
    else:
        pytest.fail("hccn_tool runs on")
    assert list(Path().glob("*.json")) == []


def test_merging_servers_in_the_order_given() -> None:
    names = []
    for server, count in ((2, 8), (1, 16), (3, 4)):
        conf = _conf(_addresses(count, subnet=server), f"{server}.conf")
        made = rank_table(RankTableRequest(server_ip=f"10.0.0.{server}", hccn_conf=conf))
        names.append(made.artifacts[0].path)
    done = amctq("rank-table", "--merge", *names, "--json")
    table = _table(done)
    assert done.envelope["artifacts"][0]["path"] == "hccl_3s_28p.json"
    assert table["server_count"] == "3"
    assert [server["server_id"] for server in table["server_list"]] == ["10.0.0.2", "10.0.0.1", "10.0.0.3"]
    ranks = [device["rank_id"] for server in table["server_list"] for device in server["device"]]
    assert ranks == [str(rank) for rank in range(28)]
    other = rank_table(RankTableRequest(merge=names[::-1], output=Path("other.json"))).table
    assert [server.server_id for server in other.servers] == ["10.0.0.3", "10.0.0.1", "10.0.0.2"]
    _refused(amctq_here("rank-table", "--merge", *names, "--json"), 2, "already holds hccl_3s_28p.json")
    with pytest.raises(InputError, match=r"10\.0\.0\.2.*too"):
        rank_table(RankTableRequest(merge=(names[0], names[0]), output=Path("x.json")))
    assert not Path("x.json").exists()


def test_merging_names_the_file_that_is_bad() -> None:
    Path("good.json").write_text(json.dumps(document(("10.0.0.1", 1))))
    bad = document(("10.0.0.2", 1))
    bad["server_list"][0]["device"][0]["rank_id"] = 0  # as merge_hccl.py writes it
    Path("bad.json").write_text(json.dumps(bad))
    done = amctq_here("rank-table", "--merge", "good.json", "bad.json", "--json")
    _refused(done, 3, "bad.json: server_list[0] (server_id 10.0.0.2), device[0] (device_id 0)", "expected a string")
    with pytest.raises(InputError, match=r"cannot read the rank table none\.json"):
        rank_table(RankTableRequest(merge=(Path("good.json"), Path("none.json"))))


def test_checking_shows_the_table_and_writes_nothing() -> None:
    content = document(("10.0.0.1", 2), ("node_1", 2))
    content["server_list"][0]["container_ip"] = "10.9.9.9"
    Path("table.json").write_text(json.dumps(content))
    done = amctq_here("rank-table", "--check", "table.json")
    assert done.code == 0
    assert [line.split() for line in done.stdout.splitlines()[:-1]] == [
        ["rank", "server", "device", "address"],
        ["0", "10.0.0.1", "0", "192.168.0.1"],
        ["1", "10.0.0.1", "1", "192.168.0.2"],
        ["2", "node_1", "0", "192.168.1.1"],
        ["3", "node_1", "1", "192.168.1.2"],
    ]
    assert done.stdout.splitlines()[-1] == "table.json: valid, 2 server(s), 4 rank(s)"
    assert "server_list.container_ip" in done.stderr
    as_json = amctq_here("rank-table", "--check", "table.json", "--json")
    assert as_json.envelope["data"]["rank_table"] == content
    assert as_json.envelope["data"]["unread_keys"] == ["server_list.container_ip"]
    assert (as_json.envelope["artifacts"], as_json.stderr) == ([], "")
    assert [path.name for path in Path().iterdir()] == ["table.json"]


def test_a_large_cluster_is_shown_server_by_server() -> None:
    Path("big.json").write_text(json.dumps(document(*((f"node{number}", 16) for number in range(20)))))
    done = amctq_here("rank-table", "--check", "big.json")
    assert done.code == 0, done.stderr
    assert "node19  0-15     304-319" in done.stdout.splitlines()


def test_checking_a_bad_table() -> None:
    content = document(("10.0.0.1", 2))
    content["server_list"][0]["device"][1]["device_ip"] = "-.-.-.-"
    Path("table.json").write_text(json.dumps(content))
    place = "table.json: server_list[0] (server_id 10.0.0.1), device[1] (device_id 1): device_ip"
    _refused(
        amctq_here("rank-table", "--check", "table.json", "--json"),
        3,
        place,
        "found '-.-.-.-', expected an IPv4 or IPv6",
    )
    for text in ("", "{", "[]", '{"version": "1.0", "version": "1.0"}'):
        Path("table.json").write_text(text)
        with pytest.raises(InputError, match=r"table\.json"):
            rank_table(RankTableRequest(check=Path("table.json")))
    with pytest.raises(InputError, match="cannot read the rank table"):
        rank_table(RankTableRequest(check=Path()))


def test_checking_warns_of_groups() -> None:
    content = document(("10.0.0.1", 6))
    Path("table.json").write_text(json.dumps(content))
    warned = amctq_here("rank-table", "--check", "table.json")
    assert warned.code == 0
    assert "server 10.0.0.1: devices 0-5 reach over the groups" in warned.stderr
    assert rank_table(RankTableRequest(check=Path("table.json"), group_check=False)).warnings == ()
