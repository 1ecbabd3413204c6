"""Text: a Transformer on generated sentences. The dataset and the network of docs/en/text.md."""

import mindspore
import numpy as np
from mindspore import nn, ops

WORDS, LENGTH, CLASSES = 40, 16, 3
_FIRST, _SECOND = (2, 3, 4), (5, 6, 7)  # the words that a sentence is about


def samples(role):
    """Pairs of two inputs by name, and the class: which of two groups of words comes first, or that neither occurs."""
    seed, count = {"train": (0, 1024), "test": (1, 512)}[role]
    draw = np.random.default_rng(seed)
    return [_sentence(draw, index % CLASSES) for index in range(count)]


def _sentence(draw, kind):
    length = int(draw.integers(6, LENGTH + 1))
    ids = np.zeros(LENGTH, np.int32)
    ids[:length] = draw.integers(8, WORDS, length)
    if kind:
        early, late = sorted(draw.choice(length, 2, replace=False))
        groups = (_FIRST, _SECOND) if kind == 1 else (_SECOND, _FIRST)
        ids[early], ids[late] = (draw.choice(group) for group in groups)
    return {"ids": ids, "mask": np.arange(LENGTH) < length}, kind


class Classifier(nn.Cell):
    """Embeddings, two layers of a Transformer, and the mean over the words."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32)
        places = np.random.default_rng(0).normal(0, 0.1, (1, LENGTH, 32)).astype(np.float32)
        self.position = mindspore.Parameter(mindspore.Tensor(places))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Dense(32, CLASSES)

    def construct(self, ids, mask):
        words = self.encoder(self.embedding(ids) + self.position, src_key_padding_mask=ops.logical_not(mask))
        weight = ops.cast(mask, mindspore.float32).expand_dims(-1)
        return self.head((words * weight).sum(1) / weight.sum(1))


def classifier():
    """The network, for --model."""
    return Classifier()


def train(path, epochs=12):
    """Train it, and save a checkpoint."""
    mindspore.set_seed(1)
    network = Classifier()
    optimizer = nn.Adam(network.trainable_params(), 2e-3)
    inputs, targets = zip(*samples("train"), strict=True)
    ids, mask = (np.stack([one[name] for one in inputs]) for name in ("ids", "mask"))
    targets = np.asarray(targets, np.int32)
    step = mindspore.value_and_grad(lambda x, m, y: ops.cross_entropy(network(x, m), y), None, optimizer.parameters)
    network.set_train(True)
    for _ in range(epochs):
        for start in range(0, len(ids), 64):
            _, gradients = step(*(mindspore.Tensor(part[start : start + 64]) for part in (ids, mask, targets)))
            optimizer(gradients)
    mindspore.save_checkpoint(network, str(path))


if __name__ == "__main__":
    train("classifier.ckpt")
