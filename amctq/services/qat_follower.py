"""The other devices of a distributed ``amctq qat``: they train beside the first one, and write nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from amctq.progress import Narrator, OnEvent, silent
from amctq.services.ptq_plan import RECORD
from amctq.services.qat_plan import plan_qat
from amctq.services.qat_request import QatRequest
from amctq.services.qat_start import prepare
from amctq.services.retraining import retrain
from amctq.training.peers import Alone, Peers, Place


def follow_qat(request: QatRequest, on_event: OnEvent = silent, *, place: Place) -> None:
    """Train beside the first of several devices, which does everything else, and wait until it has done so.

    Args:
        request: what the first one does; nothing is written.
        on_event: is told of progress, notices and warnings.
        place: which of the devices this process is.

    Raises:
        AmctqError: as ``qat`` would; WorkerError where the devices do not find each other.
        Stopped: by a signal, of this device or another.
    """
    from amctq.quant.record_text import load_record

    plan, narrator = plan_qat(request, place), Narrator(on_event)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(plan, Path(folder), narrator)
        peers = join(place, narrator)
        with narrator.phase("waiting for rank 0"):
            (Path(folder) / RECORD).write_bytes(peers.share(None))
        record = load_record(Path(folder) / RECORD)
        retraining = plan.backend.retrain(
            network=prepared.proved.network, config=prepared.config, initial=record, narrator=narrator
        )
        retrain(plan, prepared.images, prepared.proved, retraining, prepared.recipe, {}, narrator, peers)
        with narrator.phase("waiting for rank 0"):
            peers.agree(stop=False)


def join(place: Place | None, narrator: Narrator) -> Peers:
    """Come together with the other devices; None for none.

    Raises:
        WorkerError: the devices do not find each other.
    """
    if place is None:
        return Alone()
    from amctq.distributed.collectives import RankedPeers

    with narrator.phase("joining"):
        return RankedPeers(place)
