"""Text: a Transformer on generated sentences. The dataset, the network and the metric of docs/en/text.md."""

import mindspore
import numpy as np
from mindspore import nn, ops

WORDS, LENGTH, CLASSES = 40, 16, 3
_FIRST, _SECOND = (2, 3, 4), (5, 6, 7)  # the words that a sentence is about


def samples(role):
    """Pairs of two inputs by name, and the class: which group of words comes first, or that both words are of one."""
    seed, count = {"train": (0, 2048), "test": (1, 512)}[role]
    draw = np.random.default_rng(seed)
    return [_sentence(draw, index % CLASSES) for index in range(count)]


def _sentence(draw, kind):
    length = int(draw.integers(6, LENGTH + 1))
    ids = np.zeros(LENGTH, np.int32)
    ids[:length] = draw.integers(8, WORDS, length)
    groups = {0: (_FIRST,) * 2 if draw.random() < 0.5 else (_SECOND,) * 2, 1: (_FIRST, _SECOND), 2: (_SECOND, _FIRST)}
    places = sorted(draw.choice(length, 2, replace=False))
    ids[places] = [draw.choice(group) for group in groups[kind]]
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


def macro_f1(outputs, targets):
    """For --metric: the mean of the classes' F1. Outputs are float32 (N, 3), targets the classes of all samples."""
    found, targets = outputs.argmax(1), np.asarray(targets)
    hits, named, true = (
        np.array([np.sum(where == kind) for kind in range(CLASSES)])
        for where in (found[found == targets], found, targets)
    )
    return float(np.mean(2 * hits / np.maximum(named + true, 1)))


def classifier():
    """The network, for --model."""
    return Classifier()


def train(path, epochs=10):
    """Train it, and save a checkpoint."""
    mindspore.set_seed(1)
    network = Classifier()
    optimizer = nn.Adam(network.trainable_params(), 2e-3)
    inputs, targets = zip(*samples("train"), strict=True)
    arrays = [np.stack([one[name] for one in inputs]) for name in ("ids", "mask")] + [np.asarray(targets, np.int32)]

    def loss(ids, mask, target):
        return ops.cross_entropy(network(ids, mask), target)

    gradient = mindspore.value_and_grad(loss, None, optimizer.parameters)

    @mindspore.jit
    def step(ids, mask, target):
        _, gradients = gradient(ids, mask, target)
        optimizer(gradients)

    network.set_train(True)
    for _ in range(epochs):
        for start in range(0, len(targets), 64):
            step(*(mindspore.Tensor(array[start : start + 64]) for array in arrays))
    mindspore.save_checkpoint(network, str(path))


if __name__ == "__main__":
    train("classifier.ckpt")
