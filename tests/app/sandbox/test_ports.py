from __future__ import annotations

import random
import socket

from app.sandbox.ports import choose_ports, is_free

CHANCE = random.Random(1)


def test_each_name_gets_a_free_port_of_its_own() -> None:
    ports = choose_ports(["a", "b", "c"], {}, CHANCE)
    assert len(set(ports.values())) == 3
    assert all(is_free(port) and port < 32768 for port in ports.values())


def test_remembered_ports_come_back() -> None:
    ports = choose_ports(["a", "b"], {}, CHANCE)
    assert choose_ports(["b", "a"], ports, CHANCE) == ports


def test_a_remembered_port_that_is_taken_is_replaced() -> None:
    remembered = choose_ports(["a"], {}, CHANCE)
    with socket.socket() as other:
        other.bind(("127.0.0.1", remembered["a"]))
        other.listen()
        assert choose_ports(["a"], remembered, CHANCE, patience_s=0.05) != remembered


def test_nonsense_that_was_remembered_is_ignored() -> None:
    ports = choose_ports(["a", "b", "c"], {"a": "x", "b": 10**9, "c": None}, CHANCE, patience_s=0)
    assert all(map(is_free, ports.values()))


def test_one_port_remembered_twice_is_given_once() -> None:
    (port,) = choose_ports(["a"], {}, CHANCE).values()
    ports = choose_ports(["a", "b"], {"a": port, "b": port}, CHANCE)
    assert ports["a"] == port
    assert ports["b"] != port
