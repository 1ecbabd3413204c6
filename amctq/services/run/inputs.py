"""What a run reads before it computes."""

from __future__ import annotations

from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.record import QuantRecord


def named_record(record: QuantRecord, network: FloatNetwork, reporter: Reporter) -> QuantRecord:
    """A record in the network's own names, where another front end of AMCT has written it; says so.

    Raises:
        InputError: it names layers that the network lacks.
    """
    from amctq.amct_files.record_names import record_of

    found, names = record_of(record, network.topology)
    if names.renamed:
        one, own = next(iter(names.renamed.items()))
        reporter.info(f"{len(names.renamed)} of the record's {len(found.layers)} layers are renamed, as {one} to {own}")
    return found
