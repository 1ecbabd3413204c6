"""Recurrent layers as amctq reads them from MindIR."""

from __future__ import annotations

from typing import Any

import pytest
from mindspore import nn

from tests.graph.mindir.compare import assert_same


class Recurrent(nn.Cell):
    """A recurrent layer over rows of 5 features: its outputs, and its last state."""

    def __init__(self, kind: Any, **settings: Any) -> None:
        super().__init__()
        self.layer = kind(5, 6, batch_first=True, **settings)

    def construct(self, x: Any) -> Any:
        return self.layer(x)[0]


class LastState(Recurrent):
    """The last hidden state and the last cell state of an LSTM."""

    def construct(self, x: Any) -> Any:
        return self.layer(x)[1]


@pytest.mark.parametrize("settings", [{}, {"has_bias": False}])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer(kind: Any, settings: dict[str, Any]) -> None:
    """MindSpore's tanh on the CPU is off by 1e-4."""
    assert_same(Recurrent(kind, **settings), (4, 5), tolerance=3e-4)


def test_an_lstm_stays_one_operator() -> None:
    model = assert_same(Recurrent(nn.LSTM), (4, 5), tolerance=3e-4)
    assert [node.op_type for node in model.graph.node].count("LSTM") == 1


def test_the_last_state_of_an_lstm() -> None:
    assert_same(LastState(nn.LSTM), (4, 5), outputs=2, tolerance=3e-4)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers_in_both_directions(kind: Any) -> None:
    assert_same(Recurrent(kind, num_layers=2, bidirectional=True), (4, 5), tolerance=3e-4)
