"""A hand-written training loop around PyTorch's nn.LSTM: one timing per line of input.

Run by training.py: `python torch_loop.py NAME SECONDS`.
"""

import sys
import time
from typing import Any

import torch
from torch import nn


class Last(nn.Module):
    """An LSTM, and a head on its last output."""

    def __init__(self, lstm: nn.LSTM, head: nn.Module, embedding: nn.Module | None = None) -> None:
        super().__init__()
        self.lstm, self.head, self.embedding = lstm, head, embedding

    def forward(self, x: Any) -> Any:
        if self.embedding is not None:
            x = self.embedding(x)
        return self.head(self.lstm(x)[0][:, -1])


def rows() -> tuple[Any, ...]:
    head = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 10))
    network = Last(nn.LSTM(28, 64, batch_first=True), head)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    data = torch.rand(64, 28, 28), torch.randint(0, 10, (64,))
    return network, nn.functional.cross_entropy, optimizer, data


def window() -> tuple[Any, ...]:
    network = Last(nn.LSTM(7, 128, batch_first=True), nn.Linear(128, 1))
    optimizer = torch.optim.Adam(network.parameters())
    return network, nn.functional.mse_loss, optimizer, (torch.randn(32, 96, 7), torch.randn(32, 1))


def text() -> tuple[Any, ...]:
    network = Last(
        nn.LSTM(128, 128, batch_first=True), nn.Linear(128, 1), nn.Embedding(20_000, 128)
    )
    optimizer = torch.optim.Adam(network.parameters())
    data = torch.randint(0, 20_000, (32, 200)), torch.randint(0, 2, (32, 1)).float()
    return network, nn.functional.binary_cross_entropy_with_logits, optimizer, data


def language() -> tuple[Any, ...]:
    lstm = nn.LSTM(650, 650, num_layers=2, batch_first=True)
    optimizer = torch.optim.SGD(lstm.parameters(), lr=0.01)
    data = torch.randn(20, 35, 650), torch.zeros(20, 35, 650)

    class Outputs(nn.Module):
        def forward(self, x: Any) -> Any:
            return lstm(x)[0]

    return Outputs(), nn.functional.mse_loss, optimizer, data


LOOPS = {"rows": rows, "window": window, "text": text, "language": language}


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    torch.manual_seed(0)
    network, loss, optimizer, (x, y) = LOOPS[name]()
    for _ in sys.stdin:
        steps, began = 0, time.perf_counter()
        while steps < 10 or time.perf_counter() - began < seconds:
            optimizer.zero_grad()
            loss(network(x), y).backward()
            optimizer.step()
            steps += 1
        print((time.perf_counter() - began) / steps, flush=True)


if __name__ == "__main__":
    main()
