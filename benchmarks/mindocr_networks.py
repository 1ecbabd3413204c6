"""A text detector and a recogniser of MindOCR 0.5.0, from its own parts, for ``detectors.py``.

MindOCR as a whole does not import with MindSpore 2.10 (mindspore.parallel._transformer is gone); these parts do, where
the packages that they lie in are not run.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

from mindspore import nn

_PACKAGES = (
    *("mindocr", "mindocr.utils", "mindocr.models", "mindocr.models.heads", "mindocr.models.necks"),
    *("mindocr.models.backbones", "mindocr.models.backbones.mindcv_models"),
)


def _without_their_init() -> None:
    found = importlib.util.find_spec("mindocr")
    assert found is not None
    assert found.submodule_search_locations is not None
    for name in _PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [found.submodule_search_locations[0] + name.removeprefix("mindocr").replace(".", "/")]
        sys.modules[name] = package


class _Parts(nn.Cell):
    def __init__(self, backbone: Any, neck: Any, head: Any) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def construct(self, x: Any) -> Any:
        return self.head(self.neck(self.backbone(x)))


def dbnet() -> nn.Cell:
    """DBNet with ResNet-18: images (N, 3, H, W) to a map of text (N, 1, H, W)."""
    _without_their_init()
    from mindocr.models.backbones.det_resnet import det_resnet18
    from mindocr.models.heads.det_db_head import DBHead
    from mindocr.models.necks.fpn import DBFPN

    backbone = det_resnet18(pretrained=False)
    neck = DBFPN(backbone.out_channels, out_channels=256)
    return _Parts(backbone, neck, DBHead(neck.out_channels))


def crnn() -> nn.Cell:
    """CRNN with VGG-7: lines (N, 3, 32, W) to the classes of W / 4 - 1 characters."""
    _without_their_init()
    from mindocr.models.backbones.rec_vgg import rec_vgg7
    from mindocr.models.heads.rec_ctc_head import CTCHead
    from mindocr.models.necks.rnn import RNNEncoder

    backbone = rec_vgg7(pretrained=False)
    neck = RNNEncoder(backbone.out_channels, hidden_size=256)
    return _Parts(backbone, neck, CTCHead(neck.out_channels, out_channels=37))
