"""Files that others publish: MindSpore's checkpoints of official networks, and the sample's definition files."""

from __future__ import annotations

from amctq.download.source import Source

_HUB = "https://download.mindspore.cn/models"
# The hub has a copy of a file for every release that it was published for, with the release in its name.
_RELEASES = ("1.10", "1.9", "1.8", "1.7", "1.6", "1.5", "1.3")
_RAW = "https://raw.githubusercontent.com/mindspore-ai"
_LARGEST_TEXT = 1 << 20  # the four files have some 10 kB each
_SAMPLE_TAG = f"{_RAW}/mindspore/v1.1.1/model_zoo"

# Network, dataset, accuracy in the file's name, and the SHA-256 of MindSpore Hub.
_PUBLISHED = """
resnet50  cifar10      top1acc91.00              fda8626106f24fe8d0834ba415d40982e90fd4089d7f378274dbe86c4b33c27d
resnet18  cifar10      acc94.02                  e668e52ba28d5a90d8eb4166457f506c49b08d6fbc331823766a7ea3ea92fdcc
resnet18  imagenet2012 top1acc70.47_top5acc89.61 22a181090f89f52442a43fc0a59b0d6029257c129f2722d11a25c9023ba95942
resnet34  imagenet2012 top1acc73.61_top5acc91.74 c17234dbfa8d3d41e816ab3caf306fb18728b445e39805e599e6e648e9805090
resnet50  imagenet2012 top1acc76.97_top5acc93.44 41c1479844f6f848d4caf902cf940ebe4727df559495ed45885892fc55a2738f
resnet101 imagenet2012 top1acc78.55_top5acc94.34 d0ad1bb5fbd692b8fbfb7b6304560197bd4003e5c88f77ab1cee4141f302b936
resnet152 imagenet2012 top1acc78.72_top5acc94.31 76d176503f5a18bf60b5ee0ad23f150b36306b616c5798aef4df4ff917538a5f
"""

CHECKPOINTS: dict[tuple[str, str], Source] = {
    (model, data): Source(
        urls=tuple(
            f"{_HUB}/r{release}/{model}_ascend_v{release.replace('.', '')}0_{data}_official_cv_{accuracy}.ckpt"
            for release in _RELEASES
        ),
        sha256=sha256,
    )
    for model, data, accuracy, sha256 in map(str.split, _PUBLISHED.strip().splitlines())
}

# The four files of the sample, by name. No checksums of them are published, and amctq executes none of them. The sample
# takes hccl_tools.py from a branch that no longer has it; the tag of the other three has it too.
DEFINITIONS: dict[str, Source] = {
    **{
        name: Source(urls=(f"{_SAMPLE_TAG}/official/cv/resnet/src/{name}",), largest=_LARGEST_TEXT)
        for name in ("resnet.py", "dataset.py", "lr_generator.py")
    },
    "hccl_tools.py": Source(
        urls=(
            f"{_SAMPLE_TAG}/utils/hccl_tools/hccl_tools.py",
            f"{_RAW}/models/master/utils/hccl_tools/hccl_tools.py",
            f"{_RAW}/mindspore/master/model_zoo/utils/hccl_tools/hccl_tools.py",
        ),
        largest=_LARGEST_TEXT,
    ),
}
